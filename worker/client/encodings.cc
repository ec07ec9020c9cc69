#include "worker/client/encodings.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace leeway {

absl::StatusOr<PushEncoding> ParsePushEncoding(absl::string_view text) {
  PushEncoding parsed;
  if (text == "f32") return parsed;
  if (text == "bf16") {
    parsed.encoding = v1::BF16;
    return parsed;
  }
  if (text == "int8") {
    parsed.encoding = v1::INT8;
    return parsed;
  }
  parsed.encoding = v1::TOP_K;
  absl::string_view fraction = text;
  const bool good = absl::ConsumePrefix(&fraction, "top_k:") && absl::SimpleAtod(fraction, &parsed.fraction) &&
                    parsed.fraction > 0 && parsed.fraction <= 1;
  if (good) return parsed;
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is no encoding of gradients"));
}

absl::StatusOr<v1::Encoding> ParsePullEncoding(absl::string_view text) {
  if (text == "f32") return v1::F32;
  if (text == "bf16") return v1::BF16;
  if (text == "delta") return v1::INT8;
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is no encoding of weights"));
}

}  // namespace leeway
