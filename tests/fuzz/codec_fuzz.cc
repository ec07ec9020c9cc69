// Fuzz target: DecodeMessage on a buffer that is split anywhere, against protobuf's own parser on the same bytes.
//
// Input: a byte that picks the message, the cuts (FuzzInput::Pieces), the message's bytes.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/codec.h"
#include "proto/coordinator.pb.h"
#include "proto/parameter_server.pb.h"
#include "tests/fuzz/fuzz_input.h"

namespace leeway {
namespace {

using google::protobuf::Message;
using google::protobuf::UnknownField;

const Message& Prototype(std::uint8_t which) {
  static const auto* all = new std::vector<const Message*>{
      &v1::PushRequest::default_instance(), &v1::PullReply::default_instance(), &v1::PullRequest::default_instance(),
      &v1::PushReply::default_instance(), &v1::PushPullRequest::default_instance(),
      &v1::PushPullReply::default_instance(), &v1::PutWeightsRequest::default_instance(),
      // No payload field; the last one's field 15 is another one's.
      &v1::JoinRequest::default_instance(), &v1::WatchReply::default_instance(), &v1::JoinReply::default_instance()};
  return *(*all)[which % all->size()];
}

const google::protobuf::FieldDescriptor* PayloadOf(const Message& message) {
  const auto* field = message.GetDescriptor()->FindFieldByNumber(kPayloadField);
  const bool bytes = field != nullptr && field->type() == google::protobuf::FieldDescriptor::TYPE_BYTES;
  return bytes ? field : nullptr;
}

// Takes the payload out of a message that protobuf has parsed.
std::string TakePayload(Message* message) {
  const auto* field = PayloadOf(*message);
  if (field == nullptr) return "";
  std::string payload = message->GetReflection()->GetString(*message, field);
  message->GetReflection()->ClearField(message, field);
  return payload;
}

// Groups are the one thing that protobuf reads and we refuse: nothing of ours has any.
bool HasGroup(const Message& message) {
  const auto& unknown = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i) {
    if (unknown.field(i).type() == UnknownField::TYPE_GROUP) return true;
  }
  return false;
}

// Both agree on everything: header, payload, and what is written again.
void CheckSame(const Message& plain, const std::string& plain_payload, const Message& header, const Buffer& payload) {
  FUZZ_CHECK(plain.SerializeAsString() == header.SerializeAsString());
  FUZZ_CHECK(plain_payload == payload.ToString());
  const Buffer again = EncodeMessage(header, payload);
  const std::unique_ptr<Message> decoded(header.New());
  Buffer decoded_payload;
  FUZZ_CHECK(DecodeMessage(again, decoded.get(), &decoded_payload).ok());
  FUZZ_CHECK(decoded->SerializeAsString() == header.SerializeAsString());
  FUZZ_CHECK(decoded_payload.ToString() == plain_payload);
  const std::unique_ptr<Message> parsed(header.New());
  FUZZ_CHECK(parsed->ParseFromString(again.ToString()));
  FUZZ_CHECK(TakePayload(parsed.get()) == plain_payload);
  FUZZ_CHECK(parsed->SerializeAsString() == header.SerializeAsString());
}

}  // namespace
}  // namespace leeway

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace leeway;
  FuzzInput input(data, size);
  const Message& prototype = Prototype(input.Byte());
  const Buffer bytes = input.Pieces();
  const std::unique_ptr<Message> header(prototype.New());
  Buffer payload;
  const absl::Status decoded = DecodeMessage(bytes, header.get(), &payload);
  const std::unique_ptr<Message> plain(prototype.New());
  const bool parsed = plain->ParseFromString(bytes.ToString());
  if (!decoded.ok()) {
    FUZZ_CHECK(absl::IsInvalidArgument(decoded));
    FUZZ_CHECK(!parsed || (PayloadOf(*plain) != nullptr && HasGroup(*plain)));
    return 0;
  }
  FUZZ_CHECK(parsed);
  const std::string plain_payload = TakePayload(plain.get());
  CheckSame(*plain, plain_payload, *header, payload);
  return 0;
}
