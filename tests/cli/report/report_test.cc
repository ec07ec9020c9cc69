#include "cli/report/report.h"

#include <cstring>
#include <limits>
#include <random>
#include <set>

#include "tests/catch.h"
#include "tests/cli/report/sample.h"
#include "tests/seed.h"

namespace leeway {
namespace {

using Catch::Contains;

// What is wrong with the nesting of tags, attributes in quotes, and stray < and &; empty: nothing.
std::string MarkupError(const std::string& html) {
  const std::set<std::string> kVoid = {"meta", "!DOCTYPE"};
  std::vector<std::string> open;
  for (std::size_t at = 0; at < html.size(); ++at) {
    const std::string here = " near '" + html.substr(at, 60) + "'";
    if (html[at] == '>') return "stray >" + here;
    if (html[at] == '&') {
      const std::size_t end = html.find(';', at);
      if (end == std::string::npos || end - at > 7) return "stray &" + here;
    }
    if (html[at] != '<') continue;
    bool quoted = false;
    std::size_t end = at + 1;
    for (; end < html.size() && (quoted || html[end] != '>'); ++end) {
      if (html[end] == '"') quoted = !quoted;
      if (html[end] == '<') return "< within a tag" + here;
    }
    if (end == html.size()) return "tag without end" + here;
    const std::string tag = html.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(tag[0] == '/' ? 1 : 0, tag.find_first_of(" /", 1) - (tag[0] == '/' ? 1 : 0));
    if (tag[0] == '/') {
      if (open.empty() || open.back() != name) return "</" + name + "> closes nothing" + here;
      open.pop_back();
    } else if (tag.back() != '/' && kVoid.count(name) == 0) {
      open.push_back(name);
    }
    at = end;
    if (name == "style" && tag[0] != '/') at = html.find("</style", at) - 1;
  }
  return open.empty() ? "" : "<" + open.back() + "> is never closed";
}

// Renders and checks what holds for every report.
std::string Render(const v1::GetStatusReply& status, const RunFacts& facts = {}) {
  const std::string html = RenderReportHtml(status, facts);
  CHECK(MarkupError(html) == "");
  // Nothing from outside the page, no number that is none; not CHECK_THAT, which would print the page.
  for (const char* bad :
       {"http:", "https:", "src=", "href=", "<script", "@import", "url(", "nan", "inf\"", "inf<", " inf", "-inf"}) {
    const std::size_t at = html.find(bad);
    if (at != std::string::npos) FAIL_CHECK("'" << bad << "' in " << html.substr(at < 80 ? 0 : at - 80, 160));
  }
  return html;
}

std::size_t Count(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST_CASE("MarkupError: sees what is not well formed") {
  CHECK(MarkupError("<!DOCTYPE html><p class=\"a > b\">x &amp; y<br/></p>") == "");
  for (const char* bad : {"<p>", "</p>", "<p><b></p></b>", "a & b", "a < b", "<p x=\"", "a > b", "<p <b>>"}) {
    INFO(bad);
    CHECK(MarkupError(bad) != "");
  }
}

TEST_CASE("report.html: the sample has every part with its numbers") {
  const std::string html = Render(SampleStatus(), SampleFacts());
  for (const char* part : {"<title>Leeway: cnn</title>",
                           "prefers-color-scheme: dark",
                           "finished: 5 epochs",
                           "90.3 %",
                           "0.2719",
                           "1 min 52 s",
                           "Gap: mean 1.45, at most 4",
                           "Delay: mean 3.0",
                           "Where the time went",
                           "Who was waited for",
                           "Communication per step",
                           "<td>11.1 ms</td><td>39.3 ms</td><td>6.3 %</td>",
                           "127.0.0.1:40002",
                           "1.87 GiB",
                           "00c0de42",
                           "8c0ffee123456789",
                           "staleness_bound",
                           "<td>adam</td>",
                           "--epochs=5",
                           "431,080",
                           "112.4 5 epochs are done",
                           "oneDNN"}) {
    CHECK_THAT(html, Contains(part));
  }
  CHECK_THAT(html, !Contains("no data yet"));
  CHECK(Count(html, "<svg class=\"chart\"") == 4);
  CHECK(Count(html, "<svg class=\"stack\"") == 8);
  CHECK(Count(html, "<circle") == 20);  // ten evaluations, of loss and of accuracy
}

TEST_CASE("report.html: an empty status is a page that says so") {
  const std::string html = Render({});
  CHECK_THAT(html, Contains("Leeway: a run") && Contains("starting") && Contains("No worker has trained yet"));
  CHECK_THAT(html, Contains("Nobody had to wait") && Contains("None has joined") && Contains("None is known"));
  CHECK(Count(html, "no data yet") == 4);
}

TEST_CASE("report.html: text from outside is escaped wherever it stands") {
  const std::string evil = "<script>\"'&</b>\x01";
  v1::GetStatusReply status = SampleStatus();
  for (auto& worker : *status.mutable_workers()) {
    worker.set_name(evil);
    worker.set_state(evil);
    worker.set_reason(evil);
    worker.mutable_progress()->set_device(evil);
  }
  for (auto& shard : *status.mutable_shards()) shard.set_address(evil);
  status.set_model(evil);
  status.set_stop_reason(evil);
  status.set_waiting_for(evil);
  status.add_events(evil);
  status.mutable_policy()->add_groups()->set_group(evil);
  status.mutable_policy()->mutable_stop()->set_target_metric(evil);
  const std::string html = Render(status, {evil, evil, evil, {{evil, evil}}});
  CHECK_THAT(html, Contains("&lt;script&gt;&quot;&#39;&amp;&lt;/b&gt;"));
  CHECK_THAT(html, !Contains("\x01"));
}

TEST_CASE("report.html: values that are not finite, negative, huge or single") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (double odd : {nan, inf, -inf, -1.0, 0.0, 1e308, -1e308, 5e-324, 1.0}) {
    for (bool everywhere : {true, false}) {
      CAPTURE(odd, everywhere);
      v1::GetStatusReply status = everywhere ? SampleStatus() : v1::GetStatusReply();
      status.set_seconds(odd);
      for (auto& point : *status.mutable_training()) point.set_loss(odd);
      v1::LossPoint& point = *status.add_training();
      point.set_seconds(odd);
      point.set_loss(odd);
      point.set_accuracy(odd);
      v1::Evaluation& evaluation = *status.add_evaluations();
      evaluation.set_seconds(7);
      evaluation.set_loss(odd);
      evaluation.set_accuracy(odd);
      v1::WorkerStatus& worker = *status.add_workers();
      worker.set_samples_per_second(odd);
      v1::Progress& progress = *worker.mutable_progress();
      progress.set_loss_sum(odd);
      progress.set_exposed_seconds(odd);
      progress.set_hidden_seconds(odd);
      progress.mutable_seconds()->set_compute(odd);
      progress.mutable_seconds()->set_blocked(odd);
      progress.add_blocked_on()->set_seconds(odd);
      v1::Histogram& gap = *status.add_shards()->mutable_stats()->mutable_gap();
      gap.set_sum(odd);
      gap.add_counts(~std::uint64_t{0});
      Render(status);
    }
  }
}

TEST_CASE("report.html: a line breaks at NaN, and a single point is a dot") {
  v1::GetStatusReply status;
  for (double loss : {1.0, 0.9, std::numeric_limits<double>::quiet_NaN(), 0.8, 0.7}) {
    v1::LossPoint& point = *status.add_training();
    point.set_seconds(status.training_size());
    point.set_loss(loss);
    point.set_accuracy(std::numeric_limits<double>::quiet_NaN());
  }
  const std::string html = Render(status);
  const std::size_t path = html.find("<path class=\"line a\"");
  REQUIRE(path != std::string::npos);
  const std::string drawn = html.substr(path, html.find("/>", path) - path);
  CHECK(Count(drawn, "M") == 2);
  CHECK(Count(drawn, "L") == 2);

  v1::GetStatusReply one;
  one.add_evaluations()->set_loss(0.5);
  CHECK(Count(Render(one), "<circle") == 2);
}

TEST_CASE("report.html: many workers stay readable: the matrix shows the most affected") {
  v1::GetStatusReply status;
  for (std::uint32_t id = 0; id < 200; ++id) {
    v1::WorkerStatus& worker = *status.add_workers();
    worker.set_worker_id(id);
    worker.set_name("w" + std::to_string(id));
    v1::BlockedOn& on = *worker.mutable_progress()->add_blocked_on();
    on.set_worker_id((id + 1) % 200);
    on.set_seconds(id + 1);
  }
  const std::string html = Render(status);
  CHECK_THAT(html, Contains("The 352 least affected are left out"));
  CHECK_THAT(html, Contains("<tr><td>w199</td>"));
}

TEST_CASE("report.html: wide histograms are drawn in bins, the open end says so") {
  v1::GetStatusReply status;
  v1::Histogram& delay = *status.add_shards()->mutable_stats()->mutable_delay();
  for (int i = 0; i < 1000; ++i) delay.add_counts(1);
  const std::string html = Render(status);
  CHECK(Count(html, "<rect class=\"bar\"") == 40);
  CHECK_THAT(html, Contains("<title>0 to 24: 2.5 %</title>") && Contains("<title>975 to 999 or more: 2.5 %</title>"));
  CHECK_THAT(html, Contains(">975+</text>"));
}

// Fields filled at random, as a confused or hostile worker might.
TEST_CASE("report.html: random numbers everywhere give a well-formed page") {
  std::mt19937_64 random(TestSeed());
  const auto number = [&]() {
    double value = 0;
    const std::uint64_t bits = random();
    static_assert(sizeof(bits) == sizeof(value));
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  };
  for (int i = 0; i < 300; ++i) {
    v1::GetStatusReply status = SampleStatus();
    status.set_state(static_cast<v1::RunState>(random() % 9));
    status.mutable_policy()->set_aggregation(static_cast<v1::Aggregation>(random() % 9));
    status.set_seconds(number());
    for (auto& point : *status.mutable_training()) {
      point.set_seconds(number());
      point.set_loss(number());
      point.set_accuracy(number());
    }
    for (auto& worker : *status.mutable_workers()) {
      worker.set_worker_id(static_cast<std::uint32_t>(random() % 3));
      worker.set_rank(static_cast<std::uint32_t>(random()));
      worker.mutable_progress()->set_steps(random() % 2 == 0 ? 0 : random());
      worker.mutable_progress()->mutable_seconds()->set_data(number());
      worker.mutable_progress()->set_hidden_seconds(number());
      for (auto& on : *worker.mutable_progress()->mutable_blocked_on()) on.set_seconds(number());
    }
    for (auto& shard : *status.mutable_shards()) {
      for (int j = 0; j < 8; ++j) shard.mutable_stats()->mutable_gap()->set_counts(j, random() % 3 == 0 ? 0 : random());
      shard.mutable_stats()->mutable_gap()->set_sum(number());
    }
    Render(status);
  }
}

}  // namespace
}  // namespace leeway
