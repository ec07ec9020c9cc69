// InputFile: the contents of a file that may be gzip-compressed, read from beginning to end.
//
// Only regular files are opened: a directory or a pipe in a data path is a mistake, and a pipe would hang.
//
// Thread safety: one thread at a time.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leeway {

// RESOURCE_EXHAUSTED: what is kept of the file takes that many bytes, more than this machine has memory.
absl::Status CheckFits(const std::string& path, std::uint64_t bytes);

class InputFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE (another reason of the system's), INVALID_ARGUMENT (not a
  // regular file), RESOURCE_EXHAUSTED (more bytes than this machine has memory, where data are kept; of gzip data that
  // is not known beforehand). Every message of this class begins with the path.
  // Without `may_be_gzip` the contents are the file's bytes, whatever they begin with.
  static absl::StatusOr<std::unique_ptr<InputFile>> Open(const std::string& path, bool may_be_gzip = true);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  bool gzip() const { return gzip_; }
  // The most bytes that a file of this size can hold: the size itself, or what deflate can make of it.
  std::uint64_t max_contents() const;

  // Fills `out` with the next `size` bytes of the contents; returns fewer only at their end. UNAVAILABLE:
  // the system cannot read. DATA_LOSS: gzip data that is corrupt, cut off, or followed by other bytes.
  absl::StatusOr<std::size_t> Read(void* out, std::size_t size);

 private:
  InputFile(std::string path, std::FILE* file, std::uint64_t size);
  absl::Status Fill();  // reads the next piece of the file once `input_` is used up
  absl::StatusOr<std::size_t> Inflate(unsigned char* out, std::size_t size);
  absl::Status NextMember();  // behind the end of a gzip member: another one, the end, or an error

  const std::string path_;
  std::FILE* const file_;
  const std::uint64_t size_;
  bool gzip_ = false;
  bool stream_ready_ = false;   // stream_ is initialised
  bool inside_member_ = false;  // some of a member was read, not all of it
  bool file_ended_ = false;
  std::vector<unsigned char> input_;
  z_stream stream_{};  // next_in and avail_in also serve plain files
};

// The whole of a plain text file. Errors as above, and INVALID_ARGUMENT for a gzip-compressed one: how much
// memory its contents take is not known beforehand.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace leeway
