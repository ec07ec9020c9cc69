#include "common/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "values are copied as they lie");

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr std::uint64_t kMaxData = std::numeric_limits<std::int64_t>::max();
constexpr int kMaxDepth = 3;  // header { tensor { shape [
constexpr char kMetadata[] = "__metadata__";

// Text of the file in a message: printable, and not a whole page of it.
std::string Quote(const std::string& text) {
  constexpr std::size_t kShown = 80;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kShown)), text.size() > kShown ? "..." : "", "'");
}

std::string Quote(const Json& value) {
  if (value.is_string()) return Quote(value.get<std::string>());
  return Quote(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

const char* NameOf(SafetensorsType type) { return type == SafetensorsType::kF32 ? "F32" : "I64"; }

// The number of elements, or false for a negative dimension or a product whose bytes pass 2^63.
bool CountElements(const std::vector<std::int64_t>& shape, std::uint64_t& count) {
  constexpr std::uint64_t kMaxCount = std::numeric_limits<std::int64_t>::max() / 8;
  count = 1;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return false;
    const auto d = static_cast<std::uint64_t>(dimension);
    if (d != 0 && count > kMaxCount / d) return false;
    count *= d;
  }
  return true;
}

// Brackets outside strings. Asked before the header is parsed, whose memory grows with its depth.
bool NestsTooDeep(const char* json, std::size_t size) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < size; ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// Parses the header; an object that names a key twice is an error (a plain parse would keep the last).
absl::StatusOr<Json> ParseHeader(const std::string& file, const char* begin, std::size_t size) {
  if (size == 0 || *begin != '{') {
    return absl::InvalidArgumentError(absl::StrCat(file, ": the header does not begin with '{'"));
  }
  if (NestsTooDeep(begin, size)) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": the header nests deeper than ", kMaxDepth, " levels"));
  }
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::string twice;
  const auto check_keys = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second && twice.empty()) {
      twice = Quote(value.get<std::string>());
    }
    return true;
  };
  Json header = Json::parse(begin, begin + size, check_keys, /*allow_exceptions=*/false);
  if (header.is_discarded()) return absl::InvalidArgumentError(absl::StrCat(file, ": the header is not valid JSON"));
  if (!twice.empty()) return absl::InvalidArgumentError(absl::StrCat(file, ": the header has ", twice, " twice"));
  return header;
}

absl::StatusOr<SafetensorsMetadata> ParseMetadata(const std::string& file, const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(file, ": ", kMetadata, " is not an object"));
  SafetensorsMetadata metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": ", kMetadata, " ", Quote(key), " is ", Quote(value), "; allowed: a string"));
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// An array of integers in [0, 2^63), or nothing.
bool ParseNumbers(const Json& entry, const char* key, std::vector<std::int64_t>& out) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array()) return false;
  for (const Json& number : *found) {
    // nlohmann's "unsigned" is any integer literal without a sign.
    if (!number.is_number_unsigned()) return false;
    const auto value = number.get<std::uint64_t>();
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
    out.push_back(static_cast<std::int64_t>(value));
  }
  return true;
}

// One tensor's entry. `data_begin` and `data_size` are the data's place in the file.
absl::StatusOr<SafetensorsTensor> ParseTensor(const std::string& file, const std::string& name, const Json& entry,
                                              std::uint64_t data_begin, std::uint64_t data_size,
                                              absl::Span<const SafetensorsType> allowed) {
  const auto refuse = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", Quote(name), ": ", why));
  };
  if (!entry.is_object()) return refuse(absl::StrCat("its entry is ", Quote(entry), "; allowed: an object"));
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end()) return refuse("no dtype");
  const auto type = std::find_if(allowed.begin(), allowed.end(), [&](auto t) { return *dtype == NameOf(t); });
  if (type == allowed.end()) {
    const std::string names = absl::StrJoin(allowed, ", ", [](std::string* out, auto t) { out->append(NameOf(t)); });
    return refuse(absl::StrCat("dtype is ", Quote(*dtype), "; allowed: ", names));
  }
  SafetensorsTensor tensor;
  tensor.name = name;
  tensor.type = *type;
  if (!ParseNumbers(entry, "shape", tensor.shape)) {
    return refuse(absl::StrCat("shape in ", Quote(entry), "; allowed: an array of integers from 0"));
  }
  std::vector<std::int64_t> offsets;
  if (!ParseNumbers(entry, "data_offsets", offsets) || offsets.size() != 2) {
    return refuse(absl::StrCat("data_offsets in ", Quote(entry), "; allowed: two integers from 0"));
  }
  const auto begin = static_cast<std::uint64_t>(offsets[0]), end = static_cast<std::uint64_t>(offsets[1]);
  if (begin > end || end > data_size) {
    return refuse(absl::StrCat("data_offsets are [", begin, ", ", end, "), the data has ", data_size, " bytes"));
  }
  if (!CountElements(tensor.shape, tensor.count) || tensor.bytes() != end - begin) {
    return refuse(absl::StrCat("shape ", Quote(entry["shape"]), " does not fit the ", end - begin,
                               " bytes of data_offsets [", begin, ", ", end, ")"));
  }
  tensor.offset = data_begin + begin;
  return tensor;
}

std::uint64_t End(const SafetensorsTensor& tensor) { return tensor.offset + tensor.bytes(); }

// Sorts the tensors by their data, which must follow one another from `begin` to `end` without hole or overlap.
absl::Status CheckCover(const std::string& file, std::vector<SafetensorsTensor>& tensors, std::uint64_t begin,
                        std::uint64_t end) {
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return std::pair(a.offset, End(a)) < std::pair(b.offset, End(b)); });
  std::uint64_t covered = begin;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.offset != covered) {
      return absl::InvalidArgumentError(absl::StrCat(
          file, ": tensor ", Quote(tensor.name), ": its data begins at ", tensor.offset - begin,
          tensor.offset < covered ? ", inside another's, which ends at " : ", after a hole from ", covered - begin));
    }
    covered = End(tensor);
  }
  if (covered != end) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": the tensors end at byte ", covered - begin, " of the data, which has ", end - begin));
  }
  return absl::OkStatus();
}

}  // namespace

const SafetensorsTensor* SafetensorsHeader::Find(absl::string_view name) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

absl::StatusOr<std::uint64_t> SafetensorsJsonSize(const std::string& file, absl::string_view begin,
                                                  std::uint64_t file_size) {
  if (file_size < kSafetensorsLength || begin.size() < kSafetensorsLength) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": ", file_size, " bytes are no safetensors file; the smallest has 10"));
  }
  std::uint64_t json_size;
  std::memcpy(&json_size, begin.data(), kSafetensorsLength);
  const std::uint64_t limit = std::min<std::uint64_t>(kMaxHeader, file_size - kSafetensorsLength);
  if (json_size > limit) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": its header claims ", json_size,
                                                   " bytes; allowed here: up to ", limit, " (file size ", file_size,
                                                   ")"));
  }
  return json_size;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(const std::string& file, absl::string_view json,
                                                         std::uint64_t file_size,
                                                         absl::Span<const SafetensorsType> allowed) {
  ASSIGN_OR_RETURN(const Json entries, ParseHeader(file, json.data(), json.size()));
  const std::uint64_t data_begin = kSafetensorsLength + json.size();
  SafetensorsHeader header;
  for (const auto& [name, entry] : entries.items()) {
    if (name == kMetadata) {
      ASSIGN_OR_RETURN(header.metadata, ParseMetadata(file, entry));
      continue;
    }
    ASSIGN_OR_RETURN(SafetensorsTensor tensor,
                     ParseTensor(file, name, entry, data_begin, file_size - data_begin, allowed));
    header.tensors.push_back(std::move(tensor));
  }
  RETURN_IF_ERROR(CheckCover(file, header.tensors, data_begin, file_size));
  return header;
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path, RandomAccessFile& file,
                                                        absl::Span<const SafetensorsType> allowed) {
  std::string begin(std::min(kSafetensorsLength, file.Size()), '\0');
  RETURN_IF_ERROR(file.ReadAt(0, begin.size(), begin.data()));
  ASSIGN_OR_RETURN(const std::uint64_t json_size, SafetensorsJsonSize(path, begin, file.Size()));
  std::string json(json_size, '\0');
  RETURN_IF_ERROR(file.ReadAt(kSafetensorsLength, json.size(), json.data()));
  return ParseSafetensorsHeader(path, json, file.Size(), allowed);
}

absl::StatusOr<SafetensorsPlan> PlanSafetensors(const std::string& file, std::vector<SafetensorsTensor> tensors,
                                                const SafetensorsMetadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::uint64_t end = 0;
  for (SafetensorsTensor& tensor : tensors) {
    if (tensor.name == kMetadata || header.contains(tensor.name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": tensor name ", Quote(tensor.name), " is reserved or used twice"));
    }
    if (!CountElements(tensor.shape, tensor.count) || tensor.bytes() > kMaxData - end) {
      return absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", Quote(tensor.name), ": shape ",
                                                     Quote(Json(tensor.shape)), " is negative or too large"));
    }
    tensor.offset = end;
    end += tensor.bytes();
    header[tensor.name] = {
        {"dtype", NameOf(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {tensor.offset, end}}};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::type_error& error) {  // the library's only word for text that is not UTF-8
    return absl::InvalidArgumentError(absl::StrCat(file, ": a name or metadata is not UTF-8: ", error.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the values lie aligned
  if (text.size() > kMaxHeader) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": the header has ", text.size(), " bytes; allowed: up to ", kMaxHeader));
  }
  const std::uint64_t json_size = text.size();
  SafetensorsPlan plan;
  plan.begin.assign(reinterpret_cast<const char*>(&json_size), kSafetensorsLength);
  plan.begin += text;
  for (SafetensorsTensor& tensor : tensors) tensor.offset += plan.begin.size();
  plan.tensors = std::move(tensors);
  plan.file_size = plan.begin.size() + end;
  return plan;
}

}  // namespace leeway
