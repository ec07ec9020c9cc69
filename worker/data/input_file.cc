#include "worker/data/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/machine.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::size_t kPiece = 1 << 16;      // of the file, read at a time
constexpr std::uint64_t kMaxDeflate = 1032;  // zlib.net/zlib_tech.html: deflate's greatest compression
constexpr int kGzipWindow = 15 + 16;         // inflateInit2: the largest window, gzip header required

absl::Status SystemError(const std::string& path, const char* what, int error) {
  const std::string message = absl::StrCat(path, ": ", what, ": ", std::generic_category().message(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

}  // namespace

absl::Status CheckFits(const std::string& path, std::uint64_t bytes) {
  const std::uint64_t memory = TotalMemoryBytes();
  if (bytes <= memory) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(path, ": takes ", FormatBytes(bytes),
                                                   ", and data are kept in memory, of which this machine has ",
                                                   FormatBytes(memory)));
}

absl::StatusOr<std::unique_ptr<InputFile>> InputFile::Open(const std::string& path, bool may_be_gzip) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return SystemError(path, "cannot be opened", errno);
  struct stat info {};
  if (fstat(descriptor, &info) != 0) {
    const int error = errno;
    close(descriptor);
    return SystemError(path, "cannot be examined", error);
  }
  if (!S_ISREG(info.st_mode)) {
    close(descriptor);
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is not a regular file", S_ISDIR(info.st_mode) ? " but a directory" : ""));
  }
  std::FILE* file = fdopen(descriptor, "rb");
  if (file == nullptr) {
    const int error = errno;
    close(descriptor);
    return SystemError(path, "cannot be opened", error);
  }
  std::unique_ptr<InputFile> input(new InputFile(path, file, static_cast<std::uint64_t>(info.st_size)));
  RETURN_IF_ERROR(input->Fill());
  input->gzip_ = may_be_gzip && input->stream_.avail_in >= 2 && input->input_[0] == 0x1f && input->input_[1] == 0x8b;
  if (input->gzip_) {
    if (inflateInit2(&input->stream_, kGzipWindow) != Z_OK) {
      return absl::UnavailableError(absl::StrCat(path, ": zlib cannot start (no memory?)"));
    }
    input->stream_ready_ = true;
    input->inside_member_ = true;
  } else {
    RETURN_IF_ERROR(CheckFits(path, input->size_));
  }
  return input;
}

InputFile::InputFile(std::string path, std::FILE* file, std::uint64_t size)
    : path_(std::move(path)), file_(file), size_(size), input_(kPiece) {}

InputFile::~InputFile() {
  if (stream_ready_) inflateEnd(&stream_);
  std::fclose(file_);
}

std::uint64_t InputFile::max_contents() const { return gzip_ ? size_ * kMaxDeflate : size_; }

absl::Status InputFile::Fill() {
  if (stream_.avail_in > 0 || file_ended_) return absl::OkStatus();
  const std::size_t count = std::fread(input_.data(), 1, input_.size(), file_);
  if (count < input_.size()) {
    if (std::ferror(file_)) return SystemError(path_, "cannot be read", errno);
    file_ended_ = true;
  }
  stream_.next_in = input_.data();
  stream_.avail_in = static_cast<uInt>(count);
  return absl::OkStatus();
}

absl::StatusOr<std::size_t> InputFile::Read(void* out, std::size_t size) {
  auto* bytes = static_cast<unsigned char*>(out);
  if (gzip_) return Inflate(bytes, size);
  std::size_t done = 0;
  while (done < size) {
    RETURN_IF_ERROR(Fill());
    if (stream_.avail_in == 0) break;
    const std::size_t count = std::min<std::size_t>(size - done, stream_.avail_in);
    std::memcpy(bytes + done, stream_.next_in, count);
    stream_.next_in += count;
    stream_.avail_in -= static_cast<uInt>(count);
    done += count;
  }
  return done;
}

absl::StatusOr<std::size_t> InputFile::Inflate(unsigned char* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    if (!inside_member_) {
      RETURN_IF_ERROR(NextMember());
      if (!inside_member_) break;
    }
    RETURN_IF_ERROR(Fill());
    if (stream_.avail_in == 0) {
      return absl::DataLossError(
          absl::StrCat(path_, ": the gzip data is cut off (the file ends after ", size_, " bytes)"));
    }
    const std::size_t room = std::min<std::size_t>(size - done, 1u << 30);  // avail_out is an unsigned int
    stream_.next_out = out + done;
    stream_.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream_, Z_NO_FLUSH);
    done += room - stream_.avail_out;
    if (result == Z_STREAM_END) {
      inside_member_ = false;
    } else if (result != Z_OK) {
      return absl::DataLossError(
          absl::StrCat(path_, ": the gzip data is corrupt: ", stream_.msg != nullptr ? stream_.msg : zError(result)));
    }
  }
  return done;
}

absl::Status InputFile::NextMember() {
  RETURN_IF_ERROR(Fill());
  if (stream_.avail_in == 0) return absl::OkStatus();
  // The second byte of a member's magic is left to inflate to check.
  if (*stream_.next_in != 0x1f || inflateReset(&stream_) != Z_OK) {
    return absl::DataLossError(absl::StrCat(path_, ": there are other bytes after the end of the gzip data"));
  }
  inside_member_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<InputFile> file, InputFile::Open(path));
  if (file->gzip()) return absl::InvalidArgumentError(absl::StrCat(path, ": is gzip-compressed; unpack it first"));
  std::string text(file->max_contents(), '\0');
  ASSIGN_OR_RETURN(const std::size_t size, file->Read(text.data(), text.size()));
  text.resize(size);
  return text;
}

}  // namespace leeway
