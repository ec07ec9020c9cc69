#include "common/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "values are copied as they lie");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr int kMaxDepth = 3;                       // header { tensor { shape [
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

// The number of elements, or false for a negative dimension or a product whose bytes pass 2^63.
bool CountElements(const std::vector<std::int64_t>& shape, std::uint64_t& count) {
  constexpr std::uint64_t kMaxCount = std::numeric_limits<std::int64_t>::max() / sizeof(float);
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
absl::StatusOr<SafetensorsFile::Tensor> ParseTensor(const std::string& file, const std::string& name, const Json& entry,
                                                    std::uint64_t data_begin, std::uint64_t data_size) {
  const auto refuse = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", Quote(name), ": ", why));
  };
  if (!entry.is_object()) return refuse(absl::StrCat("its entry is ", Quote(entry), "; allowed: an object"));
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end()) return refuse("no dtype");
  if (*dtype != "F32") return refuse(absl::StrCat("dtype is ", Quote(*dtype), "; allowed: F32"));
  SafetensorsFile::Tensor tensor;
  tensor.name = name;
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
  if (!CountElements(tensor.shape, tensor.count) || tensor.count * sizeof(float) != end - begin) {
    return refuse(absl::StrCat("shape ", Quote(entry["shape"]), " does not fit the ", end - begin,
                               " bytes of data_offsets [", begin, ", ", end, ")"));
  }
  tensor.offset = data_begin + begin;
  return tensor;
}

std::uint64_t End(const SafetensorsFile::Tensor& tensor) { return tensor.offset + tensor.count * sizeof(float); }

// Sorts the tensors by their data, which must follow one another from `begin` to `end` without hole or overlap.
absl::Status CheckCover(const std::string& file, std::vector<SafetensorsFile::Tensor>& tensors, std::uint64_t begin,
                        std::uint64_t end) {
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return std::pair(a.offset, End(a)) < std::pair(b.offset, End(b)); });
  std::uint64_t covered = begin;
  for (const SafetensorsFile::Tensor& tensor : tensors) {
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

absl::StatusOr<SafetensorsFile> SafetensorsFile::Read(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, files.Read(path));
  return Parse(path, std::move(bytes));
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(const std::string& file_name, std::string bytes) {
  if (bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(file_name, ": ", bytes.size(), " bytes are no safetensors file; the smallest has 10"));
  }
  std::uint64_t header_size;
  std::memcpy(&header_size, bytes.data(), kLengthBytes);
  const std::uint64_t limit = std::min<std::uint64_t>(kMaxHeader, bytes.size() - kLengthBytes);
  if (header_size > limit) {
    return absl::InvalidArgumentError(absl::StrCat(file_name, ": its header claims ", header_size,
                                                   " bytes; allowed here: up to ", limit, " (file size ", bytes.size(),
                                                   ")"));
  }
  ASSIGN_OR_RETURN(const Json header, ParseHeader(file_name, bytes.data() + kLengthBytes, header_size));
  const std::uint64_t data_begin = kLengthBytes + header_size;
  SafetensorsFile file;
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadata) {
      ASSIGN_OR_RETURN(file.metadata_, ParseMetadata(file_name, entry));
      continue;
    }
    ASSIGN_OR_RETURN(Tensor tensor, ParseTensor(file_name, name, entry, data_begin, bytes.size() - data_begin));
    file.tensors_.push_back(std::move(tensor));
  }
  RETURN_IF_ERROR(CheckCover(file_name, file.tensors_, data_begin, bytes.size()));
  file.bytes_ = std::move(bytes);
  return file;
}

const SafetensorsFile::Tensor* SafetensorsFile::Find(const std::string& name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

void SafetensorsFile::Copy(const Tensor& tensor, std::uint64_t first, absl::Span<float> out) const {
  if (out.empty()) return;
  std::memcpy(out.data(), bytes_.data() + tensor.offset + first * sizeof(float), out.size() * sizeof(float));
}

absl::Status WriteSafetensors(FileSystem& files, const std::string& path, const std::vector<SafetensorsInput>& tensors,
                              const SafetensorsMetadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::uint64_t offset = 0;
  for (const SafetensorsInput& tensor : tensors) {
    if (tensor.name == kMetadata || header.contains(tensor.name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor name ", Quote(tensor.name), " is reserved or used twice"));
    }
    std::uint64_t count = 0;
    if (!CountElements(tensor.shape, count) || count != tensor.values.size()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", Quote(tensor.name), ": shape ",
                                                     Quote(Json(tensor.shape)), " does not fit ", tensor.values.size(),
                                                     " values"));
    }
    const std::uint64_t end = offset + count * sizeof(float);
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::type_error& error) {  // the library's only word for text that is not UTF-8
    return absl::InvalidArgumentError(absl::StrCat(path, ": a name or metadata is not UTF-8: ", error.what()));
  }
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');  // so that the values lie aligned
  if (text.size() > kMaxHeader) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": the header has ", text.size(), " bytes; allowed: up to ", kMaxHeader));
  }
  const std::uint64_t header_size = text.size();
  std::vector<absl::string_view> parts = {{reinterpret_cast<const char*>(&header_size), kLengthBytes}, text};
  for (const SafetensorsInput& tensor : tensors) {
    parts.emplace_back(reinterpret_cast<const char*>(tensor.values.data()), tensor.values.size() * sizeof(float));
  }
  return WriteAtomically(files, path, parts);
}

}  // namespace leeway
