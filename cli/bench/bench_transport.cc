#include "cli/bench/bench_transport.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/bench/journaled_push.h"
#include "cli/bench/peer.h"
#include "cli/bench/raw_socket.h"
#include "cli/bench/raw_tls.h"
#include "cli/bench/shard_client.h"
#include "cli/cluster.h"
#include "common/grpc_transport.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "common/tune_process.h"
#include "kernels/optimizers/sgd.h"

namespace leeway {
namespace {

constexpr double kMostCpu = 1.3;  // times the raw program's
constexpr absl::Duration kDriverTimeout = absl::Minutes(1);

// Tells the protobuf client's process to push or pull, and waits.
absl::Status Drive(Transport& transport, const std::string& address, const std::string& method) {
  struct {
    Mutex mu;
    CondVar changed;
    bool answered = false;
    absl::Status status;
  } wait;
  transport.Call(address, method, {}, kDriverTimeout, [&wait](absl::Status status, const Buffer&) {
    MutexLock lock(wait.mu);
    wait.answered = true;
    wait.status = std::move(status);
    wait.changed.NotifyAll();
  });
  MutexLock lock(wait.mu);
  while (!wait.answered) wait.changed.Wait(wait.mu);
  return wait.status;
}

absl::Status CheckWeights(const std::vector<float>& weights, const std::string& who) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] != static_cast<float>(i % 1000)) {
      return absl::InternalError(absl::StrCat(who, " pulled ", weights[i], " as element ", i));
    }
  }
  return absl::OkStatus();
}

class TransportBench {
 public:
  explicit TransportBench(const BenchTransportOptions& options)
      : options_(options),
        bytes_(static_cast<double>(options.elements) * sizeof(float)),
        vector_(options.elements, 1.0f),
        other_(options.elements, 1.0f),
        cluster_(ClusterOptions(options)) {}

  absl::StatusOr<std::vector<BenchRow>> Run() {
    RETURN_IF_ERROR(AddRaw());
    RETURN_IF_ERROR(AddPeer());
    RETURN_IF_ERROR(AddTls());
    RETURN_IF_ERROR(AddPs());
    RETURN_IF_ERROR(AddJournal());
    RETURN_IF_ERROR(AddProtobuf());
    AddMemory();
    ASSIGN_OR_RETURN(const Measured measured, MeasureInTurns(subjects_, options_.turns));
    return Rows(measured);
  }

 private:
  static RunOptions ClusterOptions(const BenchTransportOptions& options) {
    RunOptions run = options.binaries;
    run.num_ps = 1;
    run.num_workers = 0;
    run.eval = false;
    // Nobody sends heartbeats, and nothing waits.
    run.ps_flags = {"--lease=1h", "--staleness_bound=-1", "--optimizer=sgd", "--learning_rate=0.01"};
    return run;
  }

  // A subject that moves the vector `times` times.
  void Add(const std::string& name, std::vector<pid_t> processes, double times, std::function<absl::Status()> run) {
    subjects_.push_back({"transport." + name,
                         [run = std::move(run), bytes = times * bytes_]() -> absl::StatusOr<double> {
                           RETURN_IF_ERROR(run());
                           return bytes;
                         },
                         std::move(processes)});
  }

  absl::StatusOr<const Peer*> Start(const std::string& kind, const std::string& address = "") {
    ASSIGN_OR_RETURN(Peer peer,
                     StartPeer(kind, options_.elements, options_.binaries.directory, options_.turns.wait, address));
    peers_.push_back(std::make_unique<Peer>(std::move(peer)));
    return peers_.back().get();
  }

  absl::Status AddRaw() {
    ASSIGN_OR_RETURN(raw_peer_, Start(kRawPeer));
    const auto size = static_cast<std::size_t>(bytes_);
    for (int i = 0; i < 2; ++i) {
      ASSIGN_OR_RETURN(raw_[i], RawClient::Connect(raw_peer_->addresses[0], size));
    }
    ASSIGN_OR_RETURN(raw_local_, RawClient::Connect(raw_peer_->addresses[1], size));
    return absl::OkStatus();
  }

  void AddRawRow(const std::string& name, std::function<absl::Status()> run, double times = 1) {
    Add(name, {raw_peer_->process->pid()}, times, std::move(run));
  }

  // Both connections at once, a thread each.
  absl::Status RawPushAndPull() {
    absl::Status pushed;
    std::thread push([&] { pushed = raw_[0]->Push(vector_.data()); });
    absl::Status pulled = raw_[1]->Pull(other_.data());
    push.join();
    pulled.Update(pushed);
    return pulled;
  }

  absl::Status AddPeer() {
    ASSIGN_OR_RETURN(const Peer* peer, Start(kLeewayPeer));
    const std::vector<pid_t> pids = {peer->process->pid()};
    ASSIGN_OR_RETURN(peer_, ShardClient::ToPeer(peer->addresses[0], options_.elements));
    RETURN_IF_ERROR(peer_->Pull());
    RETURN_IF_ERROR(CheckWeights(peer_->weights(), "the client"));
    AddRawRow("raw_tcp.push", [this] { return raw_[0]->Push(vector_.data()); });
    Add("push", pids, 1, [this] { return peer_->Push(); });
    AddRawRow("raw_tcp.pull", [this] { return raw_[0]->Pull(other_.data()); });
    Add("pull", pids, 1, [this] { return peer_->Pull(); });
    AddRawRow(
        "raw_tcp.both", [this] { return RawPushAndPull(); }, 2);
    Add("both", pids, 2, [this] { return peer_->PushAndPull(); });
    ASSIGN_OR_RETURN(local_peer_, ShardClient::ToPeer(peer->addresses[1], options_.elements));
    AddRawRow("raw_unix.push", [this] { return raw_local_->Push(vector_.data()); });
    Add("unix.push", pids, 1, [this] { return local_peer_->Push(); });
    AddRawRow("raw_unix.pull", [this] { return raw_local_->Pull(other_.data()); });
    Add("unix.pull", pids, 1, [this] { return local_peer_->Pull(); });
    return absl::OkStatus();
  }

  absl::Status AddTls() {
    const std::string& folder = options_.binaries.directory;
    RETURN_IF_ERROR(WriteBenchTls(folder));
    ASSIGN_OR_RETURN(const Peer* raw, Start(kRawTlsPeer, folder));
    ASSIGN_OR_RETURN(raw_tls_,
                     RawTlsClient::Connect(raw->addresses[0], static_cast<std::size_t>(bytes_), BenchTls(folder)));
    ASSIGN_OR_RETURN(const Peer* peer, Start(kLeewayTlsPeer, folder));
    ASSIGN_OR_RETURN(tls_peer_, ShardClient::ToPeer(peer->addresses[0], options_.elements, BenchTls(folder)));
    const std::vector<pid_t> raw_pids = {raw->process->pid()}, pids = {peer->process->pid()};
    Add("raw_tls.push", raw_pids, 1, [this] { return raw_tls_->Push(vector_.data()); });
    Add("tls.push", pids, 1, [this] { return tls_peer_->Push(); });
    Add("raw_tls.pull", raw_pids, 1, [this] { return raw_tls_->Pull(other_.data()); });
    Add("tls.pull", pids, 1, [this] { return tls_peer_->Pull(); });
    return absl::OkStatus();
  }

  absl::Status AddPs() {
    RETURN_IF_ERROR(cluster_.Start(options_.turns.wait));
    const std::string address = cluster_.coordinator();
    ASSIGN_OR_RETURN(ps_, ShardClient::Join(address, "bench-tcp", options_.elements));
    ps_->UseAddress(address);
    const std::vector<pid_t> pids = {cluster_.Pid(PsName(0))};
    Add("ps.push", pids, 1, [this] { return ps_->Push(); });
    Add("ps.pull", pids, 1, [this] { return ps_->Pull(); });
    Add("ps.both", pids, 2, [this] { return ps_->PushAndPull(); });
    if (ps_->local_address().empty()) return absl::UnavailableError("the `ps` offers no Unix socket");
    ASSIGN_OR_RETURN(local_ps_, ShardClient::Join(address, "bench-unix", options_.elements));
    local_ps_->UseAddress(ps_->local_address());
    Add("unix.ps.push", pids, 1, [this] { return local_ps_->Push(); });
    Add("unix.ps.pull", pids, 1, [this] { return local_ps_->Pull(); });
    return absl::OkStatus();
  }

  absl::Status AddJournal() {
    ASSIGN_OR_RETURN(journaled_,
                     JournaledPush::Start(ClusterOptions(options_), options_.elements, options_.turns.wait));
    Add("ps.push_journaled", {journaled_->pid()}, 1, [this] { return journaled_->Push(); });
    Add("write", {}, 1, [this] { return journaled_->Write(vector_); });
    return absl::OkStatus();
  }

  absl::Status AddProtobuf() {
    ASSIGN_OR_RETURN(const Peer* server, Start(kProtobufPeer));
    ASSIGN_OR_RETURN(const Peer* client, Start(kProtobufClient, server->addresses[0]));
    const std::vector<pid_t> pids = {server->process->pid(), client->process->pid()};
    for (const auto& [name, method] : {std::pair("push", "ParameterServer/Push"), {"pull", "ParameterServer/Pull"}}) {
      Add(absl::StrCat("protobuf.", name), pids, 1,
          [this, address = client->addresses[0], method = method] { return Drive(*driver_, address, method); });
    }
    return absl::OkStatus();
  }

  void AddMemory() {
    Add("memcpy", {}, 1, [this] {
      std::memcpy(other_.data(), vector_.data(), static_cast<std::size_t>(bytes_));
      return absl::OkStatus();
    });
    Add("apply_alone", {}, 1, [this] {
      StepArgs args;
      args.weights = other_.data();
      args.gradient = vector_.data();
      args.count = other_.size();
      args.rate = 1e-6;
      Sgd().Step(args);
      return absl::OkStatus();
    });
  }

  std::vector<BenchRow> Rows(const Measured& measured) const {
    std::vector<BenchRow> rows;
    const auto full = [](const std::string& name) { return name.empty() ? "" : "transport." + name; };
    const auto speed = [&](const std::string& name, const std::string& baseline, double goal, const std::string& what) {
      if (measured.Has(full(name))) rows.push_back(measured.Speed(full(name), full(baseline), goal, what));
    };
    const auto cpu = [&](const std::string& name, const std::string& baseline, double goal) {
      if (measured.Has(full(name))) rows.push_back(measured.Cpu(full(name), full(baseline), goal));
    };
    const auto over_protobuf = [&](const std::string& name, const std::string& baseline) {
      if (!measured.Has(full(name)) || !measured.Has(full(baseline))) return;
      rows.push_back(measured.Speed(full(name), full(baseline), 6, ""));
      rows.back().name += "_over_protobuf";
    };
    const std::string raw = "one stream, one thread per end, warm memory; two processes";
    speed("raw_tcp.push", "", 0, "raw TCP program, client to server: " + raw);
    speed("raw_tcp.pull", "", 0, "raw TCP program, server to client: " + raw);
    speed("raw_tcp.both", "", 0, "two raw streams at once, one each way; the sum");
    speed("raw_unix.push", "", 0, "raw Unix socket, client to server: " + raw);
    speed("raw_unix.pull", "", 0, "raw Unix socket, server to client: " + raw);
    speed("protobuf.push", "", 0, "gRPC's generated stub, one message of plain protobuf `bytes`, default allocator");
    speed("protobuf.pull", "", 0, "the same, the reply copied into the vector");
    speed("memcpy", "", 0, "one thread, warm memory; bytes copied");
    speed("apply_alone", "", 0, "SGD from memory, one thread; bytes of gradient");
    speed("push", "raw_tcp.push", 0.95, "Leeway's client and server; chunks decoded and acknowledged, no arithmetic");
    speed("pull", "raw_tcp.pull", 0.95, "Leeway's client and server; weights referenced, copied into the vector");
    speed("both", "raw_tcp.both", 0, "a push and a pull at once; the sum");
    speed("unix.push", "raw_unix.push", 0.9, "push over a Unix socket");
    speed("unix.pull", "raw_unix.pull", 0.9, "pull over a Unix socket");
    const std::string tls = "raw TCP program with OpenSSL's TLS 1.3 at each end, ";
    speed("raw_tls.push", "", 0, tls + "client to server");
    speed("raw_tls.pull", "", 0, tls + "server to client");
    speed("tls.push", "raw_tls.push", 0.8, "push over mTLS");
    speed("tls.pull", "raw_tls.pull", 0.8, "pull over mTLS");
    speed("write", "", 0, "write() to a new file on the disk of --checkpoint_dir, from memory; nothing is synced");
    AddSum(measured, {"push", "apply_alone", "ps.push"}, "push_then_apply",
           "push to a real `ps`: checked, and applied with SGD", &rows);
    AddSum(measured, {"ps.push", "write", "ps.push_journaled"}, "push_then_write",
           "the same to a `ps` with --journal=on", &rows);
    speed("ps.pull", "raw_tcp.pull", 0.95, "pull from a real `ps`");
    speed("ps.both", "raw_tcp.both", 0, "a push, checked and applied, and a pull at once; the sum");
    speed("unix.ps.push", "raw_unix.push", 0, "push to a real `ps` over a Unix socket, checked and applied");
    speed("unix.ps.pull", "raw_unix.pull", 0.9, "pull from a real `ps` over a Unix socket");
    for (const std::string way : {"push", "pull"}) {
      over_protobuf(way, "protobuf." + way);
      over_protobuf("ps." + way, "protobuf." + way);
    }
    for (const std::string way : {"push", "pull"}) {
      cpu("raw_tcp." + way, "", 0);
      cpu(way, "raw_tcp." + way, kMostCpu);
      cpu("ps." + way, "raw_tcp." + way, 0);  // a push's has the optimizer's step in it
      cpu("raw_unix." + way, "", 0);
      cpu("unix." + way, "raw_unix." + way, kMostCpu);
      cpu("raw_tls." + way, "", 0);
      cpu("tls." + way, "raw_tls." + way, 0);
      cpu("protobuf." + way, "raw_tcp." + way, 0);
    }
    return rows;
  }

  // The third of `names`, against what the first and the second would give one after the other, a row `sum`.
  static void AddSum(const Measured& measured, std::vector<std::string> names, const std::string& sum,
                     const std::string& what, std::vector<BenchRow>* rows) {
    const std::string of = absl::StrCat("1 / (1 / ", names[0], " + 1 / ", names[1], ")");
    for (std::string& name : names) name = "transport." + name;
    if (!measured.Has(names[2])) return;
    BenchRow row = measured.Speed(names[2], "", 0, what);
    if (measured.Has(names[0]) && measured.Has(names[1])) {
      const auto both = [](const std::vector<Measured::Sample>& s) {
        return 1 / (1 / s[0].gigabytes_per_second + 1 / s[1].gigabytes_per_second);
      };
      BenchRow model;
      model.name = "transport." + sum;
      model.value = Median(measured.PerRound(names, both));
      model.unit = "GB/s";
      model.what = of;
      rows->push_back(model);
      row.baseline = model.name;
      row.ratio =
          Median(measured.PerRound(names, [&both](const auto& s) { return s[2].gigabytes_per_second / both(s); }));
      row.goal = 0.9;
    }
    rows->push_back(row);
  }

  const BenchTransportOptions& options_;
  const double bytes_;
  std::vector<float> vector_, other_;
  std::vector<Subject> subjects_;
  std::vector<std::unique_ptr<Peer>> peers_;
  LocalCluster cluster_;
  std::unique_ptr<JournaledPush> journaled_;
  const std::unique_ptr<Transport> driver_ = MakeGrpcTransport();
  const Peer* raw_peer_ = nullptr;
  std::unique_ptr<RawClient> raw_[2], raw_local_;
  std::unique_ptr<RawTlsClient> raw_tls_;
  std::unique_ptr<ShardClient> peer_, local_peer_, tls_peer_, ps_, local_ps_;  // before their servers
};

}  // namespace

absl::StatusOr<std::vector<BenchRow>> BenchTransport(const BenchTransportOptions& options) {
  TuneProcess();  // as the worker does
  return TransportBench(options).Run();
}

}  // namespace leeway
