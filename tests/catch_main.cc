// main() of every test program: Catch2 (2 or 3) under Bazel's test protocol.
//
// Reads TESTBRIDGE_TEST_ONLY (bazel test --test_filter) and writes JUnit XML to $XML_OUTPUT_FILE: one <testcase> per
// TEST_CASE, which is what tests/run.sh counts. Catch2 2 has no support of its own for either.
#define CATCH_CONFIG_RUNNER
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/catch.h"

namespace leeway {
namespace {

#if __has_include(<catch2/catch_all.hpp>)
using ListenerBase = Catch::EventListenerBase;
std::string NameOf(const Catch::TestCaseStats& stats) { return stats.testInfo->name; }
#else
using ListenerBase = Catch::TestEventListenerBase;
std::string NameOf(const Catch::TestCaseStats& stats) { return stats.testInfo.name; }
#endif

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

class JUnitListener final : public ListenerBase {
 public:
  using ListenerBase::ListenerBase;

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    ListenerBase::testCaseEnded(stats);
    cases_ += "    <testcase name=\"" + Escape(NameOf(stats)) + "\">";
    if (!stats.totals.assertions.allOk()) {
      cases_ += "<failure message=\"see the log\"/>";
      ++failed_;
    }
    cases_ += "</testcase>\n";
    ++total_;
  }

  // Catch2 calls this after a fatal signal too, so that a crash is a failed case in the report.
  void testRunEnded(const Catch::TestRunStats& stats) override {
    ListenerBase::testRunEnded(stats);
    const char* path = std::getenv("XML_OUTPUT_FILE");
    if (path == nullptr) return;
    std::ofstream(path) << "<?xml version=\"1.0\"?>\n<testsuites>\n  <testsuite name=\""
                        << Escape(std::string(stats.runInfo.name)) << "\" tests=\"" << total_ << "\" failures=\""
                        << failed_ << "\">\n"
                        << cases_ << "  </testsuite>\n</testsuites>\n";
  }

 private:
  std::string cases_;
  int total_ = 0;
  int failed_ = 0;
};

CATCH_REGISTER_LISTENER(JUnitListener)

}  // namespace
}  // namespace leeway

int main(int argc, char** argv) {
  // Catch2 3 would write the same report by itself, but counts assertions where we count test cases.
  unsetenv("BAZEL_TEST");
  std::vector<char*> args(argv, argv + argc);
  std::string filter;
  if (const char* only = std::getenv("TESTBRIDGE_TEST_ONLY")) {
    filter = only;
    args.push_back(filter.data());
  }
  return Catch::Session().run(static_cast<int>(args.size()), args.data());
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LEEWAY_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define LEEWAY_TSAN 1
#endif

#ifdef LEEWAY_TSAN
// The system's libraries are not instrumented: the sanitizer cannot see the locks inside them. Both settings are
// needed. They also hide a race in code that gRPC calls directly, so handlers stay thin and their logic is tested
// without gRPC.
extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }
extern "C" const char* __tsan_default_suppressions() { return "race:libgrpc.so\nrace:libgrpc++.so\n"; }
#endif
