// PushWindow: what is restored of what was saved, by this version or an earlier one, and what is not.
#include "server/push_window.h"
#include "tests/catch.h"

namespace leeway {
namespace {

TEST_CASE("PushWindow: what no window saves is not restored") {
  const auto refused = [](const v1::WindowState& state) {
    return PushWindow::Restore(state).status().code() == absl::StatusCode::kDataLoss;
  };
  v1::WindowState state;
  state.set_clock(5);
  CHECK_FALSE(refused(state));
  v1::WindowState many = state;
  for (std::uint64_t i = 0; i <= PushWindow::kAhead; ++i) many.add_open();
  CHECK(refused(many));
  v1::WindowState old = state;
  for (int i = 0; i < 6; ++i) old.add_past(v1::APPLIED);
  CHECK(refused(old));
  v1::WindowState unlike = state;
  for (int i = 0; i < 2; ++i) unlike.add_past(v1::APPLIED);
  unlike.add_past_steps(3);
  CHECK(refused(unlike));
  unlike.add_past_steps(4);
  CHECK_FALSE(refused(unlike));
  unlike.add_past_chunks()->set_step(3);
  CHECK_FALSE(refused(unlike));
  unlike.mutable_past_chunks(0)->set_step(2);
  CHECK(refused(unlike));
  unlike.clear_past_chunks();
  unlike.set_past_steps(1, 5);
  CHECK(refused(unlike));
  v1::WindowState ahead = state;
  ahead.add_behind()->set_step(5);
  CHECK(refused(ahead));
  v1::WindowState chunk = state;
  chunk.add_open()->add_chunks(77);
  CHECK(refused(chunk));
}

TEST_CASE("PushWindow: a state of before past_steps has the verdicts of the steps just below the clock") {
  v1::WindowState state;
  state.set_clock(5);
  for (const v1::Verdict verdict : {v1::APPLIED, v1::DROPPED, v1::REFUSED}) state.add_past(verdict);
  const PushWindow window = *PushWindow::Restore(state);
  CHECK(window.Look(2, 0).verdict == v1::APPLIED);
  CHECK(window.Look(3, 0).verdict == v1::DROPPED);
  CHECK(window.Look(4, 0).verdict == v1::REFUSED);
}

}  // namespace
}  // namespace leeway
