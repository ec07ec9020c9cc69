#include "worker/data/idx.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "worker/data/input_file.h"

namespace leeway {
namespace {

constexpr int kUnsignedByte = 8;
constexpr std::uint64_t kMaxImage = 1 << 24;  // pixels; far above any image set in this format

struct IdxFile {
  std::vector<std::uint32_t> dimensions;
  std::vector<std::uint8_t> data;
};

const char* Kind(int dimensions) { return dimensions == 1 ? "labels" : "images"; }

std::string TypeName(int type) {
  switch (type) {
    case 0x08:
      return "unsigned byte";
    case 0x09:
      return "signed byte";
    case 0x0b:
      return "16-bit integer";
    case 0x0c:
      return "32-bit integer";
    case 0x0d:
      return "32-bit float";
    case 0x0e:
      return "64-bit float";
    default:
      return "unknown";
  }
}

absl::Status CheckMagic(const std::string& path, const std::array<std::uint8_t, 4>& magic, int dimensions) {
  if (magic[0] != 0 || magic[1] != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: is not an IDX file: it begins with %02x %02x %02x %02x, IDX %s begin with 00 00 08 %02x",
                        path, magic[0], magic[1], magic[2], magic[3], Kind(dimensions), dimensions));
  }
  if (magic[2] != kUnsignedByte) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: its IDX data type is 0x%02x (%s); %s have 0x08 (unsigned byte)", path, magic[2],
                        TypeName(magic[2]), Kind(dimensions)));
  }
  if (magic[3] == dimensions) return absl::OkStatus();
  if (magic[3] == 4 - dimensions) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: holds %s (%d IDX dimensions) where %s (%d) are expected; "
                        "are images and labels swapped?",
                        path, Kind(magic[3]), magic[3], Kind(dimensions), dimensions));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: has %d IDX dimensions; %s have %d", path, magic[3], Kind(dimensions), dimensions));
}

absl::Status Truncated(const std::string& path, const std::string& claim, std::uint64_t expected, const char* verb,
                       std::uint64_t found) {
  return absl::DataLossError(absl::StrCat(path, ": is truncated: its header says ", claim, ", which is ", expected,
                                          " bytes of data, but it ", verb, " ", found));
}

// Reads the file's `size` bytes of data, taking memory only for what really comes.
absl::StatusOr<std::vector<std::uint8_t>> ReadData(const std::string& path, InputFile& file, const std::string& claim,
                                                   std::uint64_t size, std::uint64_t header) {
  const std::uint64_t most = file.max_contents() - std::min(file.max_contents(), header);
  if (size > most) return Truncated(path, claim, size, file.gzip() ? "can hold at most" : "holds", most);
  RETURN_IF_ERROR(CheckFits(path, size));
  std::vector<std::uint8_t> data;
  constexpr std::uint64_t kFirstPiece = 1 << 20;
  while (data.size() < size) {
    const std::size_t begin = data.size();
    data.resize(std::min(size, std::max<std::uint64_t>(kFirstPiece, 2 * begin)));
    ASSIGN_OR_RETURN(const std::size_t count, file.Read(data.data() + begin, data.size() - begin));
    if (begin + count < data.size()) return Truncated(path, claim, size, "holds", begin + count);
  }
  std::uint8_t extra = 0;
  ASSIGN_OR_RETURN(const std::size_t trailing, file.Read(&extra, 1));
  if (trailing != 0) {
    return absl::DataLossError(
        absl::StrCat(path, ": its header says ", claim, ", which is ", size, " bytes of data, but more bytes follow"));
  }
  return data;
}

// An IDX file of unsigned bytes with `dimensions` dimensions: 1 (labels) or 3 (images).
absl::StatusOr<IdxFile> ReadIdx(const std::string& path, int dimensions) {
  ASSIGN_OR_RETURN(std::unique_ptr<InputFile> file, InputFile::Open(path));
  std::array<std::uint8_t, 4> word{};
  ASSIGN_OR_RETURN(std::size_t count, file->Read(word.data(), word.size()));
  if (count < word.size()) {
    return absl::DataLossError(absl::StrCat(path, ": is truncated: it ends within the IDX header, after ", count,
                                            count == 1 ? " byte" : " bytes"));
  }
  RETURN_IF_ERROR(CheckMagic(path, word, dimensions));
  IdxFile idx;
  for (int i = 0; i < dimensions; ++i) {
    ASSIGN_OR_RETURN(count, file->Read(word.data(), word.size()));
    if (count < word.size()) {
      return absl::DataLossError(
          absl::StrCat(path, ": is truncated: it ends within the IDX header, after ", 4 + 4 * i + count, " bytes"));
    }
    idx.dimensions.push_back(std::uint32_t{word[0]} << 24 | std::uint32_t{word[1]} << 16 | std::uint32_t{word[2]} << 8 |
                             word[3]);
  }
  std::uint64_t per_record = 1;
  std::string claim = absl::StrCat(idx.dimensions[0], " ", Kind(dimensions));
  if (dimensions == 3) {
    per_record = std::uint64_t{idx.dimensions[1]} * idx.dimensions[2];
    absl::StrAppend(&claim, " of ", idx.dimensions[1], " x ", idx.dimensions[2]);
  }
  if (idx.dimensions[0] == 0 || per_record == 0 || per_record > kMaxImage) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": its header says ", claim,
                                                   "; there must be at least one, with 1 to ", kMaxImage, " pixels"));
  }
  // At most 2^32 records of 2^24 pixels: the product cannot overflow.
  ASSIGN_OR_RETURN(idx.data, ReadData(path, *file, claim, idx.dimensions[0] * per_record, 4 + 4 * dimensions));
  return idx;
}

// The plain or the .gz file of that name; empty: there is neither.
std::string Find(const std::string& path) {
  std::error_code error;
  for (const std::string& candidate : {path, path + ".gz"}) {
    if (std::filesystem::exists(candidate, error)) return candidate;
  }
  return "";
}

// The files of a split, images before labels; before them, for a test split that is not `normalized` otherwise, the
// training images.
absl::StatusOr<std::vector<std::string>> FindSplit(const std::string& directory, Split split, bool normalized) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return absl::NotFoundError(absl::StrCat(directory, ": is no directory; one with IDX files is expected"));
  }
  std::vector<const char*> names = {"train-images-idx3-ubyte"};
  if (split == Split::kTrain) {
    names.push_back("train-labels-idx1-ubyte");
  } else {
    names.push_back("t10k-images-idx3-ubyte");
    names.push_back("t10k-labels-idx1-ubyte");
    if (normalized) names.erase(names.begin());
  }
  std::vector<std::string> paths;
  std::string missing;
  for (const char* name : names) {
    paths.push_back(Find(absl::StrCat(directory, "/", name)));
    if (paths.back().empty()) absl::StrAppend(&missing, missing.empty() ? "" : ", ", name, "[.gz]");
  }
  if (missing.empty()) return paths;
  return absl::NotFoundError(absl::StrCat(directory, ": a directory with IDX files must hold ", missing, ", which ",
                                          missing.find(',') == std::string::npos ? "is" : "are", " not there"));
}

}  // namespace

absl::StatusOr<Dataset> LoadIdxDataset(const std::string& images_path, const std::string& labels_path,
                                       const IdxOptions& options) {
  // The small file first: most mistakes are seen before megabytes are unpacked.
  ASSIGN_OR_RETURN(const IdxFile labels, ReadIdx(labels_path, 1));
  ASSIGN_OR_RETURN(IdxFile images, ReadIdx(images_path, 3));
  if (images.dimensions[0] != labels.dimensions[0]) {
    return absl::InvalidArgumentError(absl::StrCat(images_path, ": holds ", images.dimensions[0], " images, but ",
                                                   labels_path, " holds ", labels.dimensions[0], " labels"));
  }
  for (std::size_t i = 0; i < labels.data.size(); ++i) {
    if (labels.data[i] >= options.num_classes) {
      return absl::InvalidArgumentError(absl::StrCat(labels_path, ": label ", i, " is ", int{labels.data[i]},
                                                     "; allowed are 0 to ", int64_t{options.num_classes} - 1));
    }
  }
  const Normalization normalization =
      options.normalization.has_value() ? *options.normalization : ComputeNormalization(images.data);
  return Dataset::FromBytes(images_path, {1, images.dimensions[1], images.dimensions[2]}, options.num_classes,
                            std::move(images.data), {labels.data.begin(), labels.data.end()}, normalization);
}

absl::Status CheckImageDirectory(const std::string& directory, Split split) {
  return FindSplit(directory, split, /*normalized=*/false).status();
}

absl::StatusOr<Dataset> LoadImageDirectory(const std::string& directory, Split split, const IdxOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   FindSplit(directory, split, options.normalization.has_value()));
  if (paths.size() == 2) return LoadIdxDataset(paths[0], paths[1], options);
  ASSIGN_OR_RETURN(const IdxFile training, ReadIdx(paths[0], 3));
  IdxOptions test_options = options;
  test_options.normalization = ComputeNormalization(training.data);
  return LoadIdxDataset(paths[1], paths[2], test_options);
}

}  // namespace leeway
