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

// `series`: null while warming up.
absl::Status MeasureOne(const EchoCall& call, absl::Duration time, Series* series) {
  ASSIGN_OR_RETURN(const EchoFigures one, RunEchoLoad(call, 1, time));
  if (series == nullptr) return absl::OkStatus();
  series->p50.push_back(one.Percentile(0.5) * 1e6);
  series->p99.push_back(one.Percentile(0.99) * 1e6);
  return absl::OkStatus();
}

absl::Status MeasureOneAndMany(const EchoCall& call, absl::Duration time, Series* series) {
  RETURN_IF_ERROR(MeasureOne(call, time, series));
  ASSIGN_OR_RETURN(const EchoFigures many, RunEchoLoad(call, kOutstanding, time));
  if (series != nullptr) series->calls.push_back(many.calls_per_second);
  return absl::OkStatus();
}

// More than a few at once are no load that a worker makes: beyond ReadTurns::kWaiting the server sends them back.
constexpr char kPush[] = "; as a push, of which the server reads one at a time from each connection";
constexpr char kLocal[] = "; over a local socket";

void AddBaseline(const std::string& name, const std::string& unit, const std::vector<double>& bare,
                 const std::string& what, std::vector<BenchRow>* rows) {
  rows->push_back(
      {"latency.grpc." + name, Median(bare), unit, "", 0, 0, false, "gRPC's callback interface, raw bytes: " + what});
}

void AddRow(const std::string& way, const std::string& name, const std::string& unit, const std::vector<double>& bare,
            const std::vector<double>& leeway, double goal, bool goal_is_most, const std::string& what,
            std::vector<BenchRow>* rows) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < bare.size(); ++i) ratios.push_back(leeway[i] / bare[i]);
  rows->push_back({"latency." + way + name, Median(leeway), unit, "latency.grpc." + name, Median(ratios), goal,
                   goal_is_most, "Leeway's Transport, server and a handler: " + what});
}

}  // namespace

absl::StatusOr<std::vector<BenchRow>> BenchLatency(const std::string& directory, const Turns& turns) {
  ASSIGN_OR_RETURN(const Peer bare_peer, StartPeer(kEchoPeer, 0, directory, turns.wait));
  ASSIGN_OR_RETURN(const Peer leeway_peer, StartPeer(kLeewayEchoPeer, 0, directory, turns.wait));
  const std::unique_ptr<EchoClient> client = MakeEchoClient(bare_peer.addresses[0]);
  const std::unique_ptr<Transport> transport = MakeTransport();
  const std::string bytes(kBytes, 'x');
  const Buffer request = Buffer::FromString(bytes);
  const EchoCall bare = [&](EchoDone done) { client->Call(bytes, std::move(done)); };
  const auto leeway = [&](const std::string& method, const std::string& address) -> EchoCall {
    return [&, method, address](EchoDone done) {
      transport->Call(address, method, request, kTimeout,
                      [done = std::move(done)](const absl::Status& status, const Buffer& reply) {
                        if (!status.ok() || reply.size() == kBytes) return done(status);
                        done(absl::InternalError(absl::StrCat("an echo of ", reply.size(), " bytes, not ", kBytes)));
                      });
    };
  };
  const std::string tcp = leeway_peer.addresses[0], unix_socket = leeway_peer.addresses[1];
  Series bare_series, pull_series, push_series, local_series;
  for (int round = 0; round <= turns.rounds; ++round) {
    const bool measured = round > 0;
    if (!turns.wait(absl::ZeroDuration())) return absl::CancelledError("interrupted");
    RETURN_IF_ERROR(MeasureOneAndMany(bare, turns.time, measured ? &bare_series : nullptr));
    RETURN_IF_ERROR(
        MeasureOneAndMany(leeway("ParameterServer/Pull", tcp), turns.time, measured ? &pull_series : nullptr));
    RETURN_IF_ERROR(MeasureOne(leeway("ParameterServer/Push", tcp), turns.time, measured ? &push_series : nullptr));
    RETURN_IF_ERROR(
        MeasureOneAndMany(leeway("ParameterServer/Pull", unix_socket), turns.time, measured ? &local_series : nullptr));
  }
  std::vector<BenchRow> rows;
  const std::string one = "64 bytes there and back, one call outstanding";
  const std::string many = absl::StrCat("64 bytes, ", kOutstanding, " calls outstanding");
  AddBaseline("p50", "us", bare_series.p50, one, &rows);
  AddRow("", "p50", "us", bare_series.p50, pull_series.p50, 1.2, true, one, &rows);
  AddRow("push.", "p50", "us", bare_series.p50, push_series.p50, 0, true, one + kPush, &rows);
  AddRow("local.", "p50", "us", bare_series.p50, local_series.p50, 0, true, one + kLocal, &rows);
  AddBaseline("p99", "us", bare_series.p99, one, &rows);
  AddRow("", "p99", "us", bare_series.p99, pull_series.p99, 0, true, one, &rows);
  AddRow("local.", "p99", "us", bare_series.p99, local_series.p99, 0, true, one + kLocal, &rows);
  AddBaseline("calls", "calls/s", bare_series.calls, many, &rows);
  AddRow("", "calls", "calls/s", bare_series.calls, pull_series.calls, 0.9, false, many, &rows);
  AddRow("local.", "calls", "calls/s", bare_series.calls, local_series.calls, 0, false, many + kLocal, &rows);
  return rows;
}

}  // namespace leeway
