// ToJson: a protobuf message as JSON with the field names of its .proto file.
//
// Unlike protobuf's own JSON, 64-bit numbers are numbers, enum values are lower-case names, and fields that
// have their default value are there. Numbers that JSON cannot express (NaN, Inf) are null.
//
// Thread safety: a pure function.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

namespace leeway {

nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

// null where `value` is not finite.
nlohmann::ordered_json JsonNumber(double value);

}  // namespace leeway
