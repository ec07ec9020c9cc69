#include "cli/admin/admin_verbs.h"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/admin/ask.h"
#include "cli/admin/status_text.h"
#include "cli/admin/top.h"
#include "cli/coordinator_flag.h"
#include "cli/output_flag.h"
#include "cli/terminal.h"
#include "common/flags.h"
#include "common/grpc_transport.h"
#include "common/security_flags.h"
#include "common/status_macros.h"
#include "common/utf8.h"

ABSL_FLAG(absl::Duration, ask_timeout, absl::Minutes(5), "how long leeway set and leeway drain wait; above 0s");

namespace leeway {
namespace {

using Words = std::vector<std::string>;

void Print(const std::string& text) { std::fputs(text.c_str(), stdout); }

// Who is asked, and how.
struct Cluster {
  std::unique_ptr<Transport> transport;
  Ask ask;
};

absl::StatusOr<Cluster> TheCluster() {
  Cluster cluster;
  ASSIGN_OR_RETURN(cluster.ask.coordinator, CoordinatorFlag());
  cluster.ask.limit = absl::GetFlag(FLAGS_ask_timeout);
  if (cluster.ask.limit <= absl::ZeroDuration()) {
    return FlagError("ask_timeout", absl::FormatDuration(cluster.ask.limit), "above 0s");
  }
  ASSIGN_OR_RETURN(const Security security, SecurityFromFlags());
  cluster.transport = MakeGrpcTransport({.security = security});
  cluster.ask.transport = cluster.transport.get();
  cluster.ask.on_wait = [](const std::string& reason) {
    std::fprintf(stderr, "leeway: waiting: %s\n", EscapeUnprintable(reason).c_str());
  };
  return cluster;
}

absl::Status NoWords(const char* verb, const Words& words) {
  if (words.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("leeway ", verb, " takes flags only, not \"", words[0], "\""));
}

absl::StatusOr<int> Status(const Words& words) {
  RETURN_IF_ERROR(NoWords("status", words));
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  ASSIGN_OR_RETURN(const Cluster cluster, TheCluster());
  ASSIGN_OR_RETURN(const v1::GetStatusReply status, AskStatus(cluster.ask));
  Print(json ? StatusJson(status) : StatusText(status));
  return 0;
}

absl::StatusOr<int> Workers(const Words& words) {
  RETURN_IF_ERROR(NoWords("workers", words));
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  ASSIGN_OR_RETURN(const Cluster cluster, TheCluster());
  ASSIGN_OR_RETURN(const v1::GetStatusReply status, AskStatus(cluster.ask));
  Print(json ? WorkersJson(status) : WorkersText(status));
  return 0;
}

absl::StatusOr<int> Top(const Words& words) {
  RETURN_IF_ERROR(NoWords("top", words));
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  if (json || !IsLiveTerminal(STDOUT_FILENO)) return Status(words);
  ASSIGN_OR_RETURN(const Cluster cluster, TheCluster());
  return WatchCluster(cluster.transport.get(), cluster.ask.coordinator);
}

absl::StatusOr<int> Set(const Words& words) {
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  v1::SetPolicyRequest request;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", word, "\": leeway set takes NAME=VALUE, as staleness_bound=8"));
    }
    v1::PolicySetting& setting = *request.add_settings();
    setting.set_name(word.substr(0, equals));
    setting.set_value(word.substr(equals + 1));
  }
  ASSIGN_OR_RETURN(const Cluster cluster, TheCluster());
  v1::Policy policy;
  if (words.empty()) {
    ASSIGN_OR_RETURN(const v1::GetStatusReply status, AskStatus(cluster.ask));
    policy = status.policy();
  } else {
    ASSIGN_OR_RETURN(const v1::SetPolicyReply reply, AskSetPolicy(cluster.ask, std::move(request)));
    policy = reply.policy();
  }
  Print(json ? PolicyJson(policy) : PolicyText(policy));
  return 0;
}

absl::StatusOr<int> Drain(const Words& words) {
  if (words.size() != 1) return absl::InvalidArgumentError("usage: leeway drain WORKER, or ps-N");
  ASSIGN_OR_RETURN(const bool json, WantsJson());
  ASSIGN_OR_RETURN(Cluster cluster, TheCluster());
  v1::DrainRequest request;
  request.set_target(words[0]);
  // The coordinator that is told to end cannot say that it has; but that it is there, it has to say first.
  const bool itself = words[0] == "ps-0";
  if (itself) {
    RETURN_IF_ERROR(AskStatus(cluster.ask).status());
    cluster.ask.unreachable_limit = absl::Seconds(3);
  }
  absl::StatusOr<v1::DrainReply> reply = AskDrain(cluster.ask, request);
  std::string done = reply.ok() ? reply->done() : "";
  if (itself && absl::IsUnavailable(reply.status())) {
    done = "ps-0 has ended";
  } else if (!reply.ok()) {
    return reply.status();
  }
  Print(json ? nlohmann::ordered_json{{"target", words[0]}, {"done", done}}.dump(2) + "\n"
             : EscapeUnprintable(done) + "\n");
  return 0;
}

int Finish(const absl::StatusOr<int>& code) {
  if (!code.ok()) ExitWithError(WithHint(code.status()));
  return *code;
}

}  // namespace

int RunStatus(const Words& words, int, char**) { return Finish(Status(words)); }
int RunTop(const Words& words, int, char**) { return Finish(Top(words)); }
int RunWorkers(const Words& words, int, char**) { return Finish(Workers(words)); }
int RunSet(const Words& words, int, char**) { return Finish(Set(words)); }
int RunDrain(const Words& words, int, char**) { return Finish(Drain(words)); }

}  // namespace leeway
