#include "common/launcher.h"

#include <unistd.h>

#include <cstddef>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/socket.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

using Json = nlohmann::json;

constexpr std::uint32_t kMostShards = 4096;
constexpr std::uint32_t kMostTasks = 65536;  // of other kinds

// A value of the environment in a message: printable, and not a whole page of it.
std::string Quote(const std::string& text) {
  constexpr std::size_t kShown = 80;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kShown)), text.size() > kShown ? "..." : "", "'");
}

std::string Quote(const Json& value) { return Quote(value.dump(-1, ' ', false, Json::error_handler_t::replace)); }

absl::Status Error(const std::string& variable, const std::string& what, const std::string& allowed) {
  return absl::InvalidArgumentError(absl::StrCat(variable, ": ", what, ": allowed: ", allowed));
}

// An address that can be called.
bool IsAddress(const std::string& text) {
  const auto parts = SplitAddress(text);
  return parts.ok() && parts->second > 0 && !IsWildcard(parts->first);
}

using Cluster = std::map<std::string, std::vector<std::string>>;

absl::StatusOr<Cluster> ReadCluster(const Json& json) {
  if (!json.is_object()) return Error("TF_CONFIG", absl::StrCat("cluster ", Quote(json)), "an object of lists");
  Cluster cluster;
  for (const auto& [type, addresses] : json.items()) {
    if (!addresses.is_array()) {
      return Error("TF_CONFIG", absl::StrCat("cluster.", Quote(type), " ", Quote(addresses)),
                   "a list of host:port (sparse clusters are not understood)");
    }
    std::vector<std::string>& list = cluster[type];
    for (const Json& address : addresses) {
      if (!address.is_string() || !IsAddress(address.get<std::string>())) {
        return Error("TF_CONFIG", absl::StrCat("cluster.", Quote(type), " has ", Quote(address)),
                     "host:port or [IPv6 address]:port, with a port from 1 to 65535");
      }
      list.push_back(address.get<std::string>());
    }
    if (list.size() > kMostTasks) {
      return Error("TF_CONFIG", absl::StrCat("cluster.", Quote(type), " has ", list.size()),
                   absl::StrCat("at most ", kMostTasks));
    }
  }
  return cluster;
}

absl::StatusOr<std::optional<LauncherTask>> FromTfConfig(const std::string& text) {
  constexpr char kSource[] = "TF_CONFIG";
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) return Error(kSource, Quote(text), "a JSON object");
  // Notebooks and single machines have one without a cluster: it says nothing about this process.
  if (!json.contains("cluster")) return std::nullopt;
  ASSIGN_OR_RETURN(const Cluster cluster, ReadCluster(json["cluster"]));
  const auto of = [&cluster](const std::string& type) {
    const auto it = cluster.find(type);
    return it == cluster.end() ? std::vector<std::string>{} : it->second;
  };
  if (!of("chief").empty() && !of("master").empty()) {
    return Error(kSource, "cluster has a chief and a master", "one of them: they are the same");
  }
  const std::vector<std::string> ps = of("ps");
  const std::size_t chiefs = of("chief").size() + of("master").size();
  if (chiefs > 1) return Error(kSource, absl::StrCat("cluster has ", chiefs, " chiefs"), "one");
  if (ps.empty() || ps.size() > kMostShards) {
    return Error(kSource, absl::StrCat("cluster has ", ps.size(), " ps"), absl::StrCat("1 to ", kMostShards));
  }
  if (chiefs + of("worker").size() == 0) return Error(kSource, "cluster has no worker and no chief", "at least one");
  if (std::set<std::string>(ps.begin(), ps.end()).size() != ps.size()) {
    return Error(kSource, absl::StrCat("cluster.'ps' ", Quote(json["cluster"]["ps"])), "no address twice");
  }

  const Json task = json.contains("task") ? json["task"] : Json();
  if (!task.is_object() || !task.contains("type") || !task["type"].is_string() || !task.contains("index") ||
      !task["index"].is_number_unsigned()) {
    return Error(kSource, absl::StrCat("task ", Quote(task)), "{\"type\": \"ps\", \"index\": 0} or the like");
  }
  const std::string type = task["type"];
  const std::uint64_t index = task["index"];
  std::size_t count = of(type).size();
  // Evaluators are usually not listed: nobody needs their addresses.
  if (type == "evaluator" && count == 0) count = kMostTasks;
  if (count == 0 || index >= count) {
    return Error(kSource, absl::StrCat("task ", Quote(task)),
                 count == 0 ? "a type that the cluster has" : absl::StrCat("an index from 0 to ", count - 1));
  }
  LauncherTask result;
  result.source = kSource;
  result.task = absl::StrCat(type, " ", index);
  result.num_shards = static_cast<std::uint32_t>(ps.size());
  result.num_trainers = static_cast<std::uint32_t>(chiefs + of("worker").size());
  result.num_evaluators = static_cast<std::uint32_t>(of("evaluator").size());
  result.coordinator = ps[0];
  if (type == "ps") {
    result.index = static_cast<std::uint32_t>(index);
    result.address = ps[index];
    return result;
  }
  result.name = absl::StrCat(type, "-", index);
  if (type == "evaluator") {
    result.role = LauncherRole::kEvaluator;
    return result;
  }
  if (type != "worker" && type != "chief" && type != "master") {
    return Error(kSource, absl::StrCat("task ", Quote(task)), "the types ps, chief, master, worker and evaluator");
  }
  result.role = LauncherRole::kTrainer;
  result.index = static_cast<std::uint32_t>(type == "worker" ? chiefs + index : 0);
  return result;
}

class Dmlc {
 public:
  explicit Dmlc(const std::map<std::string, std::string>& environment) : environment_(environment) {}

  std::string Text(const std::string& variable) const {
    const auto it = environment_.find(variable);
    return it == environment_.end() ? "" : it->second;
  }
  absl::StatusOr<std::uint32_t> Number(const std::string& variable, std::uint32_t low, std::uint32_t high) const {
    std::uint32_t number = 0;
    const std::string text = Text(variable);
    // SimpleAtoi would take a sign and spaces.
    const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
    if (digits && absl::SimpleAtoi(text, &number) && number >= low && number <= high) return number;
    return Error(absl::StrCat(variable, "=", absl::CHexEscape(text.substr(0, 80))), "with DMLC_ROLE",
                 absl::StrCat(low, " to ", high));
  }
  // A host, with an IPv6 address's brackets or without them.
  absl::StatusOr<std::string> Host(const std::string& variable) const {
    std::string host = Text(variable);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    const auto parts = SplitAddress(JoinAddress(host, 1));
    if (parts.ok() && parts->first == host && !IsWildcard(host)) return host;
    return Error(absl::StrCat(variable, "=", absl::CHexEscape(Text(variable).substr(0, 80))), "with DMLC_ROLE",
                 "a host's name or address");
  }

 private:
  const std::map<std::string, std::string>& environment_;
};

absl::StatusOr<std::optional<LauncherTask>> FromDmlc(const std::map<std::string, std::string>& environment) {
  const Dmlc dmlc(environment);
  LauncherTask result;
  result.source = "DMLC_ROLE";
  result.task = dmlc.Text("DMLC_ROLE");
  if (result.task != "scheduler" && result.task != "server" && result.task != "worker") {
    return Error(absl::StrCat("DMLC_ROLE=", absl::CHexEscape(result.task.substr(0, 80))), "this process's role",
                 "scheduler, server, worker");
  }
  ASSIGN_OR_RETURN(const std::string root, dmlc.Host("DMLC_PS_ROOT_URI"));
  ASSIGN_OR_RETURN(const std::uint32_t port, dmlc.Number("DMLC_PS_ROOT_PORT", 1, 65535));
  ASSIGN_OR_RETURN(const std::uint32_t servers, dmlc.Number("DMLC_NUM_SERVER", 0, kMostShards - 1));
  ASSIGN_OR_RETURN(result.num_trainers, dmlc.Number("DMLC_NUM_WORKER", 1, kMostTasks));
  result.coordinator = JoinAddress(root, static_cast<int>(port));
  result.num_shards = servers + 1;
  if (result.task == "worker") {
    result.role = LauncherRole::kTrainer;
    if (dmlc.Text("DMLC_WORKER_ID").empty()) return result;
    ASSIGN_OR_RETURN(result.index, dmlc.Number("DMLC_WORKER_ID", 0, result.num_trainers - 1));
    result.name = absl::StrCat("worker-", *result.index);
    return result;
  }
  if (result.task == "scheduler") {
    result.index = 0;
    result.address = result.coordinator;
    return result;
  }
  if (servers == 0) return Error("DMLC_NUM_SERVER=0", "with DMLC_ROLE=server", "1 and above");
  if (!dmlc.Text("DMLC_SERVER_ID").empty()) {
    ASSIGN_OR_RETURN(const std::uint32_t id, dmlc.Number("DMLC_SERVER_ID", 0, servers - 1));
    result.index = id + 1;
  }
  result.interface = dmlc.Text("DMLC_INTERFACE");
  if (dmlc.Text("DMLC_NODE_HOST").empty()) return result;
  ASSIGN_OR_RETURN(const std::string host, dmlc.Host("DMLC_NODE_HOST"));
  result.address = JoinAddress(host, 0);
  return result;
}

}  // namespace

absl::StatusOr<std::optional<LauncherTask>> ReadLauncherTask(const std::map<std::string, std::string>& environment) {
  const auto given = [&environment](const char* name) {
    const auto it = environment.find(name);
    return it != environment.end() && !it->second.empty();
  };
  const bool tensorflow = given("TF_CONFIG");
  const bool dmlc = given("DMLC_ROLE");
  if (tensorflow && dmlc) return Error("TF_CONFIG and DMLC_ROLE", "both are set", "one of them");
  if (tensorflow) return FromTfConfig(environment.at("TF_CONFIG"));
  if (dmlc) return FromDmlc(environment);
  return std::nullopt;
}

absl::StatusOr<std::optional<LauncherTask>> LauncherTaskOfThisProcess() {
  std::map<std::string, std::string> environment;
  for (char** word = environ; *word != nullptr; ++word) {
    const std::string text = *word;
    const std::size_t equals = text.find('=');
    if (equals != std::string::npos) environment[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return ReadLauncherTask(environment);
}

}  // namespace leeway
