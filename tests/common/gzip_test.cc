#include "common/gzip.h"

#include <zlib.h>

#include <string>

#include "tests/catch.h"

namespace leeway {
namespace {

std::string Unpack(const std::string& packed) {
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
  std::string text(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  text.resize(stream.total_out);
  inflateEnd(&stream);
  return text;
}

TEST_CASE("Gzip: unpacks to what was packed, and is smaller") {
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "{\"clock\":" + std::to_string(i) + "},";
  const std::string packed = Gzip(text);
  CHECK(packed.size() < text.size() / 3);
  CHECK(Unpack(packed) == text);
  CHECK(Unpack(Gzip("")).empty());
}

TEST_CASE("AcceptsGzip: what browsers, scrapers and others send") {
  CHECK(AcceptsGzip("gzip"));
  CHECK(AcceptsGzip("gzip, deflate, br, zstd"));
  CHECK(AcceptsGzip("br;q=1.0, GZIP;q=0.8"));
  CHECK_FALSE(AcceptsGzip(""));
  CHECK_FALSE(AcceptsGzip("identity"));
  CHECK_FALSE(AcceptsGzip("gzip;q=0, br"));
  CHECK_FALSE(AcceptsGzip("x-gzipped"));
}

}  // namespace
}  // namespace leeway
