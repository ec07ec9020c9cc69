#include "server/checkpoint_upload.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "server/checkpoint/checkpoint_index.h"

namespace leeway {

absl::Status CheckpointUpload::Bring(std::uint64_t cut, std::uint32_t shard, const std::string& directory,
                                     const std::vector<v1::CheckpointFile>& written,
                                     const std::function<bool()>& go_on) const {
  for (std::size_t i = 0; i < written.size(); ++i) {
    v1::WriteCheckpointRequest piece;
    piece.set_cut(cut);
    piece.set_shard_index(shard);
    piece.set_state(i > 0);
    piece.set_bytes(written[i].bytes());
    piece.set_crc32c(written[i].crc32c());
    RETURN_IF_ERROR(BringFile(piece, absl::StrCat(directory, "/", written[i].name()), written[i], go_on));
  }
  return absl::OkStatus();
}

absl::Status CheckpointUpload::BringFile(v1::WriteCheckpointRequest piece, const std::string& path,
                                         const v1::CheckpointFile& info, const std::function<bool()>& go_on) const {
  ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file, files_->Open(path));
  bool complete = false;
  for (std::uint64_t offset = 0; offset < info.bytes(); offset += kPieceBytes) {
    // A new one for each: the transport may refer to a piece for longer than its call is waited for.
    const auto bytes = std::make_shared<std::vector<char>>(std::min(kPieceBytes, info.bytes() - offset));
    RETURN_IF_ERROR(file->ReadAt(offset, bytes->size(), bytes->data()));
    // That of the memory it was written from, where there is one: so shard 0 finds what this disk has spoilt.
    const auto index = static_cast<int>(offset / kPieceBytes);
    piece.set_piece_crc32c(index < info.piece_crc32c_size() ? info.piece_crc32c(index)
                                                            : Crc32c(bytes->data(), bytes->size()));
    piece.set_offset(offset);
    const Buffer payload = Buffer::Wrap(bytes, bytes->data(), bytes->size());
    ASSIGN_OR_RETURN(const auto reply, calls_->Call<v1::WriteCheckpointReply>("Write", piece, payload, go_on));
    complete = reply.message.complete();
  }
  if (complete) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(path, ": ps 0 has not all of it"));
}

}  // namespace leeway
