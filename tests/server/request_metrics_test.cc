#include "server/request_metrics.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/catch.h"
#include "tests/support/fake_clock.h"

namespace leeway {
namespace {

// Keeps the callbacks; the test answers.
class Keeper final : public RequestHandler {
 public:
  void Handle(const std::string& method, Buffer, ReplyCallback done) override {
    methods.push_back(method);
    waiting.push_back(std::move(done));
  }
  std::vector<std::string> methods;
  std::vector<ReplyCallback> waiting;
};

std::string Text(const RequestMetrics& metrics) {
  MetricsPage page;
  metrics.AddTo(&page);
  return page.Text();
}

TEST_CASE("requests are passed on, and counted when they are answered") {
  FakeClock clock;
  Keeper keeper;
  RequestMetrics metrics(&keeper, &clock);
  std::vector<absl::StatusCode> answers;
  const auto note = [&answers](const absl::Status& status, const Buffer&) { answers.push_back(status.code()); };
  for (const char* method : {"ParameterServer/Push", "ParameterServer/PushPull", "ParameterServer/Pull",
                             "ParameterServer/PutWeights", "Coordinator/Join", "no such method"}) {
    metrics.Handle(method, {}, note);
  }
  CHECK(keeper.methods.size() == 6);
  CHECK(absl::StrContains(Text(metrics), "ps_push_requests_total{code=\"OK\"} 0\n"));
  CHECK(absl::StrContains(Text(metrics), "ps_push_duration_seconds_count 0\n"));

  clock.Advance(absl::Milliseconds(30));
  keeper.waiting[0](absl::OkStatus(), {});
  keeper.waiting[2](absl::OkStatus(), {});
  clock.Advance(absl::Seconds(2));
  keeper.waiting[1](absl::ResourceExhaustedError("come back"), {});
  for (int i = 3; i < 6; ++i) keeper.waiting[i](absl::NotFoundError(""), {});
  CHECK(answers.size() == 6);

  const std::string text = Text(metrics);
  INFO(text);
  for (const char* line : {
           "ps_push_requests_total{code=\"OK\"} 1\n",
           "ps_push_requests_total{code=\"RESOURCE_EXHAUSTED\"} 1\n",
           "ps_push_duration_seconds_count 2\n",
           "ps_push_duration_seconds_sum 2.06",
           "ps_push_duration_seconds_bucket{le=\"0.025\"} 0\n",
           "ps_push_duration_seconds_bucket{le=\"0.05\"} 1\n",
           "ps_push_duration_seconds_bucket{le=\"2.5\"} 2\n",
           "ps_pull_requests_total{code=\"OK\"} 1\n",
           "ps_pull_duration_seconds_count 1\n",
       }) {
    INFO(line);
    CHECK(absl::StrContains(text, line));
  }
  CHECK_FALSE(absl::StrContains(text, "NOT_FOUND"));  // of other methods
}

}  // namespace
}  // namespace leeway
