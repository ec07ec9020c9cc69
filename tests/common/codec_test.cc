#include "common/codec.h"

#include <cstdint>
#include <string>
#include <vector>

#include "proto/coordinator.pb.h"
#include "proto/parameter_server.pb.h"
#include "tests/catch.h"
#include "tests/seed.h"
#include "tests/support/random.h"
#include "tests/support/status_check.h"

namespace leeway {
namespace {

v1::PushRequest SomePush() {
  v1::PushRequest push;
  push.mutable_stamp()->set_worker_id(7);
  push.mutable_stamp()->set_incarnation(0x1122334455667788);
  push.set_clock(300);
  push.mutable_run()->set_num_blocks(3);
  push.mutable_ticket()->set_rate_scale(0.5);
  return push;
}

bool Same(const google::protobuf::Message& a, const google::protobuf::Message& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

// `bytes`, cut into slices at these places.
Buffer Cut(const std::string& bytes, std::vector<std::size_t> places) {
  Buffer out;
  std::size_t at = 0;
  places.push_back(bytes.size());
  for (const std::size_t place : places) {
    out.Append(Buffer::FromString(bytes.substr(at, place - at)));
    at = place;
  }
  return out;
}

TEST_CASE("codec: what it emits plain protobuf parses, and the other way round") {
  v1::PushRequest plain = SomePush();
  plain.set_payload(std::string("abc\0def", 7));
  v1::PushRequest parsed;
  REQUIRE(parsed.ParseFromString(EncodeMessage(SomePush(), Buffer::FromString(plain.payload())).ToString()));
  CHECK(Same(parsed, plain));

  v1::PushRequest header;
  Buffer payload;
  REQUIRE(DecodeMessage(Buffer::FromString(plain.SerializeAsString()), &header, &payload).ok());
  CHECK(Same(header, SomePush()));
  CHECK(payload.ToString() == plain.payload());
}

TEST_CASE("codec: the payload travels by reference in both directions") {
  const std::string bytes(100000, 'x');
  const Buffer payload = Buffer::Wrap(nullptr, bytes.data(), bytes.size());
  const Buffer encoded = EncodeMessage(SomePush(), payload);
  CHECK(encoded.slices().back().data == bytes.data());
  v1::PushRequest header;
  Buffer decoded;
  REQUIRE(DecodeMessage(encoded, &header, &decoded).ok());
  REQUIRE(decoded.slices().size() == 1);
  CHECK(decoded.slices()[0].data == bytes.data());
}

TEST_CASE("codec: split at every byte, with the payload first, last or in the middle") {
  const std::string fields = SomePush().SerializeAsString();
  v1::PushRequest only_payload;
  only_payload.set_payload("payload");
  const std::string payload = only_payload.SerializeAsString();
  v1::PushRequest clock;
  clock.set_clock(300);
  for (const std::string& bytes :
       {fields + payload, payload + fields, clock.SerializeAsString() + payload + fields, payload + fields + payload}) {
    for (std::size_t first = 0; first <= bytes.size(); ++first) {
      for (const std::size_t second : {first, std::min(bytes.size(), first + 1), bytes.size()}) {
        v1::PushRequest header;
        Buffer decoded;
        REQUIRE(DecodeMessage(Cut(bytes, {first, second}), &header, &decoded).ok());
        REQUIRE(Same(header, SomePush()));
        REQUIRE(decoded.ToString() == "payload");
      }
    }
  }
}

TEST_CASE("codec: of two payloads the last one counts; unknown fields pass") {
  v1::PushRequest one;
  one.set_payload("one");
  v1::PushRequest two;
  two.set_payload("two");
  v1::PushRequest header;
  Buffer payload;
  const std::string unknown("\xa0\x06\x05", 3);  // field 100, varint
  REQUIRE(
      DecodeMessage(Buffer::FromString(one.SerializeAsString() + unknown + two.SerializeAsString()), &header, &payload)
          .ok());
  CHECK(payload.ToString() == "two");
}

TEST_CASE("codec: a message is read once, however many payloads and slices it has") {
  // 8 MiB of the shortest payloads, in the slices of tiny frames: looked up from the front, each of them took minutes.
  std::string bytes;
  while (bytes.size() < 8 << 20) bytes += "z\x01x";
  Buffer sliced;
  for (std::size_t at = 0; at < bytes.size(); at += 64) {
    sliced.Append({bytes.data() + at, std::min<std::size_t>(64, bytes.size() - at), nullptr});
  }
  v1::PushRequest header;
  Buffer payload;
  REQUIRE(DecodeMessage(sliced, &header, &payload).ok());
  CHECK(payload.ToString() == "x");
  CHECK(Same(header, v1::PushRequest()));
}

TEST_CASE("codec: a message whose field 15 is no payload keeps it") {
  v1::JoinReply join;
  join.set_rounds_per_epoch(300);
  v1::JoinReply decoded;
  Buffer payload = Buffer::FromString("old");
  REQUIRE(DecodeMessage(EncodeMessage(join), &decoded, &payload).ok());
  CHECK(Same(decoded, join));
  CHECK(payload.empty());
  v1::Ticket without;  // no field 15 at all
  CHECK(DecodeMessage(EncodeMessage(v1::Ticket()), &without, &payload).ok());
}

TEST_CASE("codec: empty messages and payloads") {
  CHECK(EncodeMessage(v1::PushRequest()).empty());
  v1::PushRequest header;
  Buffer payload;
  CHECK(DecodeMessage({}, &header, &payload).ok());
  CHECK(payload.empty());
}

TEST_CASE("codec: what is malformed is refused where it goes wrong") {
  const auto status_of = [](const std::string& bytes) {
    v1::PushRequest header;
    Buffer payload;
    return DecodeMessage(Buffer::FromString(bytes), &header, &payload);
  };
  using Code = absl::StatusCode;
  CHECK(Says(status_of("z\x05"
                       "abc"),
             Code::kInvalidArgument, {"PushRequest", "byte 0 of 5"}));
  CHECK(Says(status_of(std::string("\x10\x01\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13)), Code::kInvalidArgument,
             {"byte 2 of 13"}));
  CHECK(Says(status_of("\x13"), Code::kInvalidArgument, {"malformed"}));  // a group
  CHECK(Says(status_of(std::string(11, '\xff')), Code::kInvalidArgument, {"malformed"}));
}

TEST_CASE("codec: what a carrier takes is parsed, and nothing larger, unless the reader says otherwise") {
  using Code = absl::StatusCode;
  v1::WatchReply watch;
  v1::WatchReply decoded;
  watch.mutable_manifest()->set_model(std::string(kMaxMessageBytes - 100, 'a'));
  watch.set_failure(std::string(kMaxMessageBytes - watch.ByteSizeLong() - 3, 'b'));
  REQUIRE(watch.ByteSizeLong() == kMaxMessageBytes);
  CHECK(DecodeMessage(EncodeMessage(watch), &decoded).ok());
  watch.set_failure(watch.failure() + "b");
  CHECK(Says(DecodeMessage(EncodeMessage(watch), &decoded), Code::kInvalidArgument, {"16842753", "at most 16842752"}));
  CHECK(DecodeMessage(EncodeMessage(watch), &decoded, 32 << 20).ok());
  // Of a message with a payload that counts which is beside it.
  const Buffer payload = Buffer::FromString(std::string(1000, 'p'));
  const Buffer push = EncodeMessage(SomePush(), payload);
  const std::size_t header_bytes = SomePush().ByteSizeLong();
  v1::PushRequest header;
  Buffer got;
  CHECK(DecodeMessage(push, &header, &got, header_bytes).ok());
  CHECK(Says(DecodeMessage(push, &header, &got, header_bytes - 1), Code::kInvalidArgument, {"of header; at most"}));
}

TEST_CASE("codec: oddly written tags and lengths are read as protobuf reads them") {
  const std::string fields = SomePush().SerializeAsString();
  const std::pair<std::string, std::string> cases[] = {
      {std::string("\xfa\x00\x04", 3) + "abcd", "abcd"},                                 // a tag of two bytes
      {std::string("\xfa\x80\x80\x80\x70\x04", 6) + "abcd", "abcd"},                     // with bits above the 32nd
      {std::string("\x7a\x84\x80\x80\x80\x00", 6) + "abcd", "abcd"},                     // a length of five bytes
      {std::string("\xfa\x80\x80\x80\x80\x80\x00\x04", 8) + "abcd", "refused"},          // a tag of seven
      {std::string("\x7a\x84\x80\x80\x80\x80\x00", 7) + "abcd", "refused"},              // a length of six
      {std::string("\x7a\xff\xff\xff\xff\x07", 6) + std::string(1000, 'a'), "refused"},  // 2 GiB - 1
  };
  for (const auto& [bytes, expected] : cases) {
    v1::PushRequest plain;
    const bool parsed = plain.ParseFromString(fields + bytes);
    v1::PushRequest header;
    Buffer payload;
    const absl::Status status = DecodeMessage(Cut(fields + bytes, {fields.size() + 1}), &header, &payload);
    INFO(expected << " " << bytes.size());
    REQUIRE(parsed == (expected != "refused"));
    CHECK(status.ok() == parsed);
    if (!parsed) continue;
    CHECK(payload.ToString() == expected);
    CHECK(plain.payload() == expected);
    CHECK(Same(header, SomePush()));
  }
}

TEST_CASE("codec: mutated messages are refused or parsed as protobuf would, never worse") {
  Random random(TestSeed());
  v1::PushRequest good = SomePush();
  good.set_payload(std::string(40, 'p'));
  const std::string bytes = good.SerializeAsString();
  int parsed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string mutated = bytes;
    for (std::uint64_t i = random.Between(1, 3); i > 0; --i) {
      mutated[random.Below(mutated.size())] = static_cast<char>(random.Bits());
    }
    if (random.Chance(0.2)) mutated.resize(random.Below(mutated.size()));
    v1::PushRequest header;
    Buffer payload;
    const bool ok = DecodeMessage(Cut(mutated, {random.Below(mutated.size() + 1)}), &header, &payload).ok();
    if (!ok) continue;
    ++parsed;
    v1::PushRequest plain;
    if (!plain.ParseFromString(mutated)) FAIL("protobuf refuses it");
    if (plain.payload() != payload.ToString()) FAIL("payloads differ");
    plain.clear_payload();
    if (!Same(plain, header)) FAIL("headers differ");
  }
  CHECK(parsed > 1000);
}

}  // namespace
}  // namespace leeway
