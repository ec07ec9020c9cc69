#include "cli/bench/bench_latency.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/bench/echo_load.h"
#include "cli/bench/peer.h"
#include "cli/bench/plain_grpc.h"
#include "common/any_transport.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

constexpr std::size_t kBytes = 64;
constexpr int kOutstanding = 64;
constexpr absl::Duration kTimeout = absl::Seconds(20);  // as a worker's calls have

// One end's figures, a value per round.
struct Series {
  std::vector<double> p50, p99, calls;
};

absl::Status MeasureOnce(const EchoCall& call, absl::Duration time, Series* series) {
  ASSIGN_OR_RETURN(const EchoFigures one, RunEchoLoad(call, 1, time));
  ASSIGN_OR_RETURN(const EchoFigures many, RunEchoLoad(call, kOutstanding, time));
  if (series == nullptr) return absl::OkStatus();  // warming up
  series->p50.push_back(one.Percentile(0.5) * 1e6);
  series->p99.push_back(one.Percentile(0.99) * 1e6);
  series->calls.push_back(many.calls_per_second);
  return absl::OkStatus();
}

// A row for `end`, with its ratio to `bare` round by round.
BenchRow RowOf(const std::string& name, const std::string& unit, const std::vector<double>& end,
               const std::string& baseline, const std::vector<double>& bare, const std::string& what) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < bare.size(); ++i) ratios.push_back(end[i] / bare[i]);
  return {name, Median(end), unit, baseline, Median(ratios), 0, false, what};
}

// Of one figure: the bare program's, Leeway's over gRPC with its goal, and over local sockets.
void AddRows(const std::string& name, const std::string& unit, std::vector<double> Series::*figure, const Series& bare,
             const Series& leeway, const Series& local, double goal, bool goal_is_most, const std::string& what,
             std::vector<BenchRow>* rows) {
  const std::string baseline = "latency.grpc." + name;
  rows->push_back(
      {baseline, Median(bare.*figure), unit, "", 0, 0, false, "gRPC's callback interface, raw bytes: " + what});
  BenchRow row = RowOf("latency." + name, unit, leeway.*figure, baseline, bare.*figure,
                       "Leeway's Transport, GrpcServer and a handler: " + what);
  row.goal = goal;
  row.goal_is_most = goal_is_most;
  rows->push_back(row);
  rows->push_back(RowOf("latency.local." + name, unit, local.*figure, baseline, bare.*figure,
                        "Leeway's Transport, LocalServer and a handler: " + what));
  rows->back().goal_is_most = goal_is_most;
}

}  // namespace

absl::StatusOr<std::vector<BenchRow>> BenchLatency(const std::string& directory, const Turns& turns) {
  ASSIGN_OR_RETURN(const Peer bare_peer, StartPeer(kEchoPeer, 0, directory, turns.wait));
  ASSIGN_OR_RETURN(const Peer leeway_peer, StartPeer(kLeewayEchoPeer, 0, directory, turns.wait));
  const std::unique_ptr<EchoClient> client = MakeEchoClient(bare_peer.addresses[0]);
  const std::unique_ptr<Transport> transport = MakeTransport();
  const std::string bytes(kBytes, 'x');
  const Buffer request = Buffer::FromString(bytes);
  const EchoCall bare = [&](std::function<void(bool)> done) { client->Call(bytes, std::move(done)); };
  const auto to = [&](const std::string& address) -> EchoCall {
    return [&, address](std::function<void(bool)> done) {
      transport->Call(address, "ParameterServer/Push", request, kTimeout,
                      [done = std::move(done)](const absl::Status& status, const Buffer& reply) {
                        done(status.ok() && reply.size() == kBytes);
                      });
    };
  };
  const EchoCall leeway = to(leeway_peer.addresses[0]), local = to(leeway_peer.addresses[1]);
  Series bare_series, leeway_series, local_series;
  for (int round = 0; round <= turns.rounds; ++round) {
    const bool measured = round > 0;
    if (!turns.wait(absl::ZeroDuration())) return absl::CancelledError("interrupted");
    RETURN_IF_ERROR(MeasureOnce(bare, turns.time, measured ? &bare_series : nullptr));
    RETURN_IF_ERROR(MeasureOnce(leeway, turns.time, measured ? &leeway_series : nullptr));
    RETURN_IF_ERROR(MeasureOnce(local, turns.time, measured ? &local_series : nullptr));
  }
  std::vector<BenchRow> rows;
  const std::string one = "64 bytes there and back, one call outstanding";
  const auto add = [&](const std::string& name, const std::string& unit, std::vector<double> Series::*figure,
                       double goal, bool goal_is_most, const std::string& what) {
    AddRows(name, unit, figure, bare_series, leeway_series, local_series, goal, goal_is_most, what, &rows);
  };
  add("p50", "us", &Series::p50, 1.2, true, one);
  add("p99", "us", &Series::p99, 0, true, one);
  add("calls", "calls/s", &Series::calls, 0.9, false, absl::StrCat("64 bytes, ", kOutstanding, " calls outstanding"));
  return rows;
}

}  // namespace leeway
