#include "tests/support/sim_network.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leeway {

struct SimNetwork::Call {
  std::string client;
  std::string address;
  std::string method;
  Buffer request;
  ReplyCallback done;  // null once answered
  std::uint64_t timer = 0;
};

class SimTransport final : public Transport {
 public:
  SimTransport(SimNetwork* network, const std::string& client) : network_(network), client_(client) {}

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    auto call = std::make_shared<SimNetwork::Call>();
    call->client = client_;
    call->address = address;
    call->method = method;
    call->request = std::move(request);
    call->done = std::move(done);
    network_->Start(call, timeout);
  }

 private:
  SimNetwork* const network_;
  const std::string client_;
};

std::unique_ptr<Transport> SimNetwork::Connect(const std::string& client) {
  return std::make_unique<SimTransport>(this, client);
}

absl::Duration SimNetwork::Delay() {
  const absl::Duration mean = random_->Chance(faults_.slow) ? faults_.mean_slow_delay : faults_.mean_delay;
  return mean * random_->Exponential(1);
}

void SimNetwork::Serve(const std::string& address, RequestHandler* handler) {
  servers_[address] = handler;
  if (handler == nullptr) {
    away_since_.emplace(address, clock_->Now());
    return;
  }
  const auto since = away_since_.find(address);
  if (since == away_since_.end()) return;
  longest_silence_ = std::max(longest_silence_, clock_->Now() - since->second);
  away_since_.erase(since);
}

void SimNetwork::Cut(const std::string& from, const std::string& to, Instant until) {
  Instant& begin = cut_since_[{from, to}];
  Instant& end = cut_until_[{from, to}];
  if (end < clock_->Now()) begin = clock_->Now();
  end = std::max(end, until);
  longest_silence_ = std::max(longest_silence_, end - begin);
}

bool SimNetwork::IsCut(const std::string& from, const std::string& to) const {
  for (const std::string& whom : {to, std::string()}) {
    const auto cut = cut_until_.find({from, whom});
    if (cut != cut_until_.end() && clock_->Now() < cut->second) return true;
  }
  return false;
}

void SimNetwork::Start(const std::shared_ptr<Call>& call, absl::Duration timeout) {
  const Instant now = clock_->Now();
  call->timer = clock_->RunAt(now + timeout, [this, call] {
    Finish(call, absl::DeadlineExceededError(absl::StrCat(call->address, ": no answer in time")), {});
  });
  const bool lost = random_->Chance(faults_.loss) || IsCut(call->client, call->address);
  if (random_->Chance(faults_.unreachable)) {
    clock_->RunAt(now + Delay(), [this, call] {
      Finish(call, absl::UnavailableError(absl::StrCat(call->address, ": unreachable")), {});
    });
    // The connection may break after the request has gone through.
    if (random_->Chance(0.5)) return;
  }
  if (!lost) clock_->RunAt(now + Delay(), [this, call] { Deliver(call); });
  if (!lost && random_->Chance(faults_.duplicate)) clock_->RunAt(now + Delay(), [this, call] { Deliver(call); });
}

void SimNetwork::Deliver(const std::shared_ptr<Call>& call) {
  const auto server = servers_.find(call->address);
  if (server == servers_.end() || server->second == nullptr) {
    return Finish(call, absl::UnavailableError(absl::StrCat(call->address, ": nobody listens")), {});
  }
  const std::uint64_t id = next_delivery_++;
  held_[id] = {absl::StrCat(call->method, " at ", call->address), clock_->Now()};
  if (arrival_probe_) arrival_probe_(call->address, call->method, call->request);
  server->second->Handle(call->method, call->request, [this, call, id](absl::Status status, Buffer reply) {
    if (held_.erase(id) == 0) twice_ = absl::StrCat(call->method, " at ", call->address);
    // The wire carries the bytes of this moment; weights go on changing.
    reply = Buffer::FromString(reply.ToString());
    if (probe_) probe_(call->address, call->method, call->request, status, reply);
    if (random_->Chance(faults_.loss) || IsCut(call->address, call->client)) return;
    clock_->RunAt(clock_->Now() + Delay(),
                  [this, call, status = std::move(status), reply = std::move(reply)] { Finish(call, status, reply); });
  });
}

void SimNetwork::Finish(const std::shared_ptr<Call>& call, absl::Status status, Buffer reply) {
  if (call->done == nullptr) return;
  clock_->Cancel(call->timer);
  const ReplyCallback done = std::exchange(call->done, nullptr);
  done(std::move(status), std::move(reply));
}

std::optional<std::string> SimNetwork::Complaint(absl::Duration limit) const {
  if (!twice_.empty()) return absl::StrCat("answered twice: ", twice_);
  for (const auto& [id, held] : held_) {
    if (clock_->Now() - held.since > limit) return absl::StrCat("not answered: ", held.what);
  }
  return std::nullopt;
}

void SimExecutor::Post(std::function<void()> fn) {
  last_ = std::max(last_, clock_->Now() + absl::Microseconds(1) * random_->Exponential(100));
  clock_->RunAt(last_, [this, fn = std::move(fn)]() mutable { Run(std::move(fn)); });
}

void SimExecutor::Run(std::function<void()> fn) {
  waiting_.push_back(std::move(fn));
  if (std::exchange(busy_, true)) return;
  while (!waiting_.empty()) {
    const std::function<void()> next = std::move(waiting_.front());
    waiting_.pop_front();
    next();
  }
  busy_ = false;
}

}  // namespace leeway
