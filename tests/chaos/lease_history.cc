// lease_history FOLDER RECORDS: reads every state that a coordinator has saved (all files of
// CHECKPOINT_DIR/coordinator, kept by the chaos tests) in their order, and checks that a record that was committed
// never came back: so it was committed once. Prints the last state's counts as one line of JSON; exits with 1 and one
// line on what is not so.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/codec.h"
#include "common/files.h"
#include "common/flags.h"
#include "common/record_log.h"
#include "common/status_macros.h"
#include "proto/coordinator_state.pb.h"

namespace leeway {
namespace {

class History {
 public:
  explicit History(std::uint64_t records) : records_(records) {}

  absl::Status Add(const v1::DataLeasesState& state) {
    if (state.epochs_done() < epochs_done_ || state.committed() < last_.committed() || !Later(state)) {
      return absl::DataLossError(absl::StrCat("epoch ", state.epochs_done(), ", ", state.committed(),
                                              " records committed, comes after epoch ", epochs_done_, ", ",
                                              last_.committed()));
    }
    std::map<std::uint64_t, std::vector<bool>> open;  // by epoch begun: the records that are not committed
    for (std::uint64_t epoch = state.epochs_done(); epoch <= state.next_epoch(); ++epoch) {
      open[epoch].assign(records_, false);
    }
    RETURN_IF_ERROR(Take(state.next_epoch(), state.next_position(), records_, &open));
    for (const v1::LeasedPiece& piece : state.returned()) {
      RETURN_IF_ERROR(Take(piece.epoch(), piece.begin(), piece.end(), &open));
    }
    for (const v1::DataLease& lease : state.leases()) {
      for (const v1::LeasedPiece& piece : lease.out()) {
        RETURN_IF_ERROR(Take(piece.epoch(), piece.begin(), piece.end(), &open));
      }
    }
    for (const auto& [epoch, records] : open_) {
      const auto now = open.find(epoch);
      if (now == open.end()) continue;  // all of it is committed
      for (std::uint64_t record = 0; record < records_; ++record) {
        if (!records[record] && now->second[record]) {
          return absl::DataLossError(
              absl::StrCat("record ", record, " of epoch ", epoch, " was committed, and is not"));
        }
      }
    }
    open_ = std::move(open);
    epochs_done_ = state.epochs_done();
    last_ = state;
    ++states_;
    return absl::OkStatus();
  }

  void Print() const {
    std::printf("{\"states\": %llu, \"epochs_done\": %llu, \"committed\": %llu, \"skipped\": %llu, \"again\": %llu}\n",
                static_cast<unsigned long long>(states_), static_cast<unsigned long long>(epochs_done_),
                static_cast<unsigned long long>(last_.committed()), static_cast<unsigned long long>(last_.skipped()),
                static_cast<unsigned long long>(last_.handed_out_again()));
  }

 private:
  bool Later(const v1::DataLeasesState& state) const {
    return state.next_epoch() > last_.next_epoch() ||
           (state.next_epoch() == last_.next_epoch() && state.next_position() >= last_.next_position());
  }

  absl::Status Take(std::uint64_t epoch, std::uint64_t begin, std::uint64_t end,
                    std::map<std::uint64_t, std::vector<bool>>* open) const {
    const auto found = open->find(epoch);
    if (found == open->end() || end > records_) {
      return absl::DataLossError(absl::StrCat("[", begin, ", ", end, ") of epoch ", epoch, ", which is done, is out"));
    }
    for (std::uint64_t record = begin; record < end; ++record) {
      if (found->second[record]) {
        return absl::DataLossError(absl::StrCat("record ", record, " of epoch ", epoch, " is in two places"));
      }
      found->second[record] = true;
    }
    return absl::OkStatus();
  }

  const std::uint64_t records_;
  std::uint64_t states_ = 0;
  std::uint64_t epochs_done_ = 0;
  v1::DataLeasesState last_;
  std::map<std::uint64_t, std::vector<bool>> open_;
};

absl::Status ReadAll(const std::string& folder, History* history) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, RealFileSystem().List(folder));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (!absl::EndsWith(name, ".log")) continue;
    const std::string path = absl::StrCat(folder, "/", name);
    ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(RealFileSystem(), path));
    for (std::uint64_t number = 1;; ++number) {
      ASSIGN_OR_RETURN(const std::optional<Buffer> record, reader.Next());
      if (!record) break;
      v1::CoordinatorFile file;
      RETURN_IF_ERROR(DecodeMessage(*record, &file));
      if (!file.state().has_leases()) continue;  // the training set is not known yet
      if (absl::Status status = history->Add(file.state().leases()); !status.ok()) {
        return absl::Status(status.code(), absl::StrCat(path, ", state ", number, ": ", std::string(status.message())));
      }
    }
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  std::uint64_t records = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[2], &records) || records == 0) {
    ExitWithError(absl::InvalidArgumentError("usage: lease_history FOLDER RECORDS"));
  }
  History history(records);
  if (absl::Status status = ReadAll(argv[1], &history); !status.ok()) ExitWithError(status);
  history.Print();
  return 0;
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) { return leeway::Main(argc, argv); }
