#include "cli/study/study_policies.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "server/delay_policy.h"
#include "server/max_delay.h"

namespace leeway {
namespace {

// What the parts of a policy's name say.
struct Parts {
  bool round = false;
  std::optional<std::int64_t> quorum, bound;
  std::optional<std::string> max_delay;  // as its flag takes it
  bool scale = false;
  std::optional<double> dc;  // its lambda
  std::optional<double> rate;
};

std::string Usual(std::uint32_t workers) {
  std::string text = "round";
  if (workers > 1) absl::StrAppend(&text, ",round:", workers - 1);
  return absl::StrCat(text, ",bound:1,bound:3,bound:10,bound:-1,max_delay:", workers,
                      ",max_delay:", 2 * std::uint64_t{workers}, ",scale,dc");
}

absl::Status Refused(const std::string& name) {
  return absl::InvalidArgumentError(absl::StrCat("\"", name, "\": allowed: ", kAllowedPolicies));
}

// A whole number from `low` on, not given before.
bool Read(const std::string& text, std::int64_t low, std::optional<std::int64_t>* number) {
  std::int64_t value = 0;
  if (number->has_value() || !absl::SimpleAtoi(text, &value) || value < low) return false;
  *number = value;
  return true;
}

bool ReadMaxDelay(const std::string& text, std::optional<std::string>* max_delay) {
  v1::Policy policy;
  if (max_delay->has_value() || !SetMaxDelay(text, &policy) || policy.max_delay() < 1) return false;
  *max_delay = text;
  return true;
}

// A learning rate, or dc's lambda: both are above 0, at most 1e6.
bool ReadNumber(const std::string& text, std::optional<double>* rate) {
  double value = 0;
  if (rate->has_value() || !absl::SimpleAtod(text, &value) || !(value > 0 && value <= 1e6)) return false;
  *rate = value;
  return true;
}

bool ReadPart(const std::string& part, Parts* parts) {
  const std::vector<std::string> words = absl::StrSplit(part, absl::MaxSplits(':', 1));
  const std::string& kind = words[0];
  if (words.size() == 1) {
    if (kind == "dc" && !parts->dc.has_value()) {
      parts->dc = kDcLambda;
      return true;
    }
    bool* const flag = kind == "round" ? &parts->round : kind == "scale" ? &parts->scale : nullptr;
    if (flag == nullptr || *flag) return false;
    return *flag = true;
  }
  if (kind == "round") return !std::exchange(parts->round, true) && Read(words[1], 1, &parts->quorum);
  if (kind == "bound") return Read(words[1], -1, &parts->bound);
  if (kind == "max_delay") return ReadMaxDelay(words[1], &parts->max_delay);
  if (kind == "dc") return ReadNumber(words[1], &parts->dc);
  return kind == "rate" && ReadNumber(words[1], &parts->rate);
}

absl::StatusOr<StudyPolicy> ParsePolicy(const std::string& name, std::uint32_t workers, const v1::Policy& base) {
  Parts parts;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(name, '+'))) {
    if (!ReadPart(part, &parts)) return Refused(name);
  }
  const bool has_delay = parts.bound || parts.max_delay || parts.scale || parts.dc;
  if ((parts.round && has_delay) || (parts.scale && parts.dc) || parts.quorum.value_or(1) > std::int64_t{workers})
    return Refused(name);
  StudyPolicy study{name, "", base};
  v1::Policy& policy = study.policy;
  policy.set_aggregation(parts.round ? v1::ROUND : v1::EACH);
  policy.set_staleness_bound(parts.round ? 0 : parts.bound.value_or(-1));
  policy.set_round_quorum(static_cast<std::uint32_t>(parts.quorum.value_or(0)));
  SetMaxDelay(parts.max_delay.value_or("-1"), &policy);
  SetDelayPolicy(parts.scale ? "scale" : parts.dc ? "dc" : "apply", &policy);
  if (parts.dc) policy.set_dc_lambda(*parts.dc);
  policy.set_data_sharing(parts.round ? v1::STATIC : v1::LEASED);
  if (parts.rate) policy.mutable_schedule()->set_rate(*parts.rate);

  study.flags = parts.round ? "--aggregation=round" : absl::StrCat("--staleness_bound=", policy.staleness_bound());
  if (parts.quorum) absl::StrAppend(&study.flags, " --round_quorum=", *parts.quorum);
  if (parts.max_delay) absl::StrAppend(&study.flags, " --max_delay=", *parts.max_delay);
  if (parts.scale) absl::StrAppend(&study.flags, " --delay_policy=scale");
  if (parts.dc) absl::StrAppend(&study.flags, " --delay_policy=dc --dc_lambda=", *parts.dc);
  if (parts.rate) absl::StrAppend(&study.flags, " --learning_rate=", *parts.rate);
  return study;
}

}  // namespace

absl::StatusOr<std::vector<StudyPolicy>> ParseStudyPolicies(const std::string& text, std::uint32_t workers,
                                                            const v1::Policy& base) {
  std::vector<StudyPolicy> policies;
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(text.empty() ? Usual(workers) : text, ','))) {
    ASSIGN_OR_RETURN(StudyPolicy policy, ParsePolicy(name, workers, base));
    policies.push_back(std::move(policy));
  }
  if (policies.size() > kMostPolicies) return Refused(text);
  return policies;
}

}  // namespace leeway
