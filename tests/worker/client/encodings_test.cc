#include "worker/client/encodings.h"

#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("The names of encodings") {
  CHECK(ParsePushEncoding("f32")->encoding == v1::F32);
  CHECK(ParsePushEncoding("bf16")->encoding == v1::BF16);
  CHECK(ParsePushEncoding("int8")->encoding == v1::INT8);
  CHECK(ParsePushEncoding("top_k:0.01")->encoding == v1::TOP_K);
  CHECK(ParsePushEncoding("top_k:0.01")->fraction == 0.01);
  CHECK(ParsePushEncoding("top_k:1")->fraction == 1);
  CHECK(*ParsePullEncoding("f32") == v1::F32);
  CHECK(*ParsePullEncoding("bf16") == v1::BF16);
  CHECK(*ParsePullEncoding("delta") == v1::INT8);
}

TEST_CASE("Other names, and fractions that keep nothing or more than all, are refused") {
  for (const char* text : {"", "F32", "int4", "top_k", "top_k:", "top_k:0", "top_k:-1", "top_k:1.01", "top_k:nan",
                           "top_k:0.1x", "bf16:1", "delta"}) {
    INFO(text);
    CHECK(absl::IsInvalidArgument(ParsePushEncoding(text).status()));
  }
  for (const char* text : {"", "int8", "top_k:0.1", "deltas"}) {
    INFO(text);
    CHECK(absl::IsInvalidArgument(ParsePullEncoding(text).status()));
  }
}

}  // namespace
}  // namespace leeway
