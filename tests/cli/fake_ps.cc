// A stand-in for `ps`: takes the flags that leeway run gives it, and as shard 0 answers GetStatus with a
// training run that takes FAKE_SECONDS. It writes its process id to FAKE_PIDS/ps-N.pid.
//   FAKE_DIE=ps-1   this shard writes "disk on fire" to its log and exits with code FAKE_CODE (3; "kill": by a signal)
//   FAKE_DIE_AT=0.5   after this share of the time; the run is FINISHED from 1.1 on; inf: when it is told to end
//   FAKE_STUBBORN_PS=ps-0   this shard ignores SIGTERM
//   FAKE_FAILURE=why   the run has failed at its end; all exit with code 4
//   FAKE_NOT_FINAL=1   its last evaluation is not of the final weights
//   FAKE_LATE=11   it writes "reads its journal" to its log, and says after so many seconds where it listens
#include <grpc/grpc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/codec.h"
#include "common/grpc_server.h"
#include "proto/coordinator.pb.h"

namespace leeway {
namespace {

std::string Environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

std::string Flag(int argc, char** argv, const std::string& name) {
  const std::string prefix = absl::StrCat("--", name, "=");
  for (int i = 1; i < argc; ++i) {
    if (absl::StartsWith(argv[i], prefix)) return std::string(argv[i]).substr(prefix.size());
  }
  return "";
}

volatile sig_atomic_t told_to_end = 0;

class FakeCoordinator final : public RequestHandler {
 public:
  FakeCoordinator(double seconds, int workers) : seconds_(seconds), workers_(workers), start_(absl::Now()) {}

  // Since the run was FINISHED.
  double seconds_over() const { return (done() - 1.1) * seconds_; }
  double done() const { return absl::ToDoubleSeconds(absl::Now() - start_) / seconds_; }

  void Handle(const std::string& method, Buffer, ReplyCallback done) override {
    if (method != "Coordinator/GetStatus") return done(absl::UnimplementedError(method), {});
    done(absl::OkStatus(), EncodeMessage(Status()));
  }

 private:
  v1::GetStatusReply Status() const {
    const double fraction = std::min(1.0, done());
    v1::GetStatusReply status;
    status.set_state(done() < 0.2   ? v1::STARTING
                     : done() < 1   ? v1::TRAINING
                     : done() < 1.1 ? v1::EVALUATING
                                    : v1::FINISHED);
    if (status.state() == v1::STARTING) status.set_waiting_for("1 of 2 workers have come");
    status.set_model("fake");
    status.set_seconds(fraction * seconds_);
    status.set_num_records(1000);
    status.set_total_samples(3000);
    status.set_samples(static_cast<std::uint64_t>(3000 * fraction));
    status.mutable_policy()->mutable_stop()->set_epochs(3);
    status.mutable_policy()->set_staleness_bound(3);
    for (int i = 0; i < workers_; ++i) {
      v1::WorkerStatus* worker = status.add_workers();
      worker->set_worker_id(static_cast<std::uint32_t>(i) + 1);
      worker->set_name(absl::StrCat("worker-", i));
      worker->set_state("live");
      worker->set_clock(static_cast<std::uint64_t>(100 * fraction) + static_cast<std::uint64_t>(i));
      worker->mutable_progress()->mutable_seconds()->set_compute(fraction * seconds_);
    }
    v1::Histogram* gap = status.add_shards()->mutable_stats()->mutable_gap();
    gap->add_counts(static_cast<std::uint64_t>(100 * fraction));
    gap->set_sum(200 * fraction);
    v1::LossPoint* point = status.add_training();
    point->set_loss(1 / (1 + fraction));
    if (status.state() == v1::FINISHED) {
      status.set_failure(Environment("FAKE_FAILURE", ""));
      status.set_stop_reason("3 epochs");
      v1::Evaluation* evaluation = status.add_evaluations();
      evaluation->set_accuracy(0.9);
      evaluation->set_final(std::getenv("FAKE_NOT_FINAL") == nullptr);
      evaluation->set_weights_crc32c(0xabcdef01);
    }
    return status;
  }

  const double seconds_;
  const int workers_;
  const absl::Time start_;
};

int Main(int argc, char** argv) {
  const std::string index = Flag(argc, argv, "shard_index");
  const std::string name = absl::StrCat("ps-", index);
  if (Environment("FAKE_STUBBORN_PS", "") == name) signal(SIGTERM, SIG_IGN);
  std::ofstream(absl::StrCat(Environment("FAKE_PIDS", "/tmp"), "/", name, ".pid")) << getpid() << "\n";
  if (const int late = std::atoi(Environment("FAKE_LATE", "0").c_str()); late > 0) {
    std::fprintf(stderr, "reads its journal\n");
    sleep(static_cast<unsigned>(late));
  }
  const bool dies = Environment("FAKE_DIE", "") == name;
  const double die_at = std::atof(Environment("FAKE_DIE_AT", "0.5").c_str());
  const bool lives_on = dies && std::isinf(die_at);
  if (lives_on) signal(SIGTERM, [](int) { told_to_end = 1; });
  FakeCoordinator coordinator(std::atof(Environment("FAKE_SECONDS", "1").c_str()),
                              std::atoi(Flag(argc, argv, "num_workers").c_str()));
  auto server = GrpcServer::Start("127.0.0.1:0", &coordinator);
  if (!server.ok()) return 1;
  const std::string port_file = Flag(argc, argv, "port_file");
  std::ofstream(port_file + ".new") << "127.0.0.1:" << (*server)->port() << "\n";
  std::rename((port_file + ".new").c_str(), port_file.c_str());
  while (coordinator.seconds_over() < 2 || lives_on) {
    if (dies && (coordinator.done() > die_at || told_to_end != 0)) {
      std::fprintf(stderr, "disk on fire\n");
      const std::string code = Environment("FAKE_CODE", "3");
      if (code == "kill") raise(SIGKILL);
      _exit(std::atoi(code.c_str()));
    }
    usleep(10000);
  }
  _exit(std::getenv("FAKE_FAILURE") == nullptr ? 0 : 4);
}

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) {
  grpc_init();
  return leeway::Main(argc, argv);
}
