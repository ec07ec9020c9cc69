#include "cli/study/study_policies.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"

namespace leeway {
namespace {

std::string Usual(std::uint32_t workers) {
  std::string text = "round";
  if (workers > 1) absl::StrAppend(&text, ",round:", workers - 1);
  return absl::StrCat(text, ",bound:1,bound:3,bound:10,bound:-1,max_delay:", workers,
                      ",max_delay:", 2 * std::uint64_t{workers}, ",scale");
}

absl::Status Refused(const std::string& name) {
  return absl::InvalidArgumentError(absl::StrCat("\"", name, "\": allowed: ", kAllowedPolicies));
}

absl::StatusOr<StudyPolicy> ParseRound(const std::string& name, std::uint32_t workers, const v1::Policy& base) {
  StudyPolicy round{name, "--aggregation=round", base};
  round.policy.set_aggregation(v1::ROUND);
  round.policy.set_staleness_bound(0);
  round.policy.set_round_quorum(0);
  round.policy.set_data_sharing(v1::STATIC);
  if (name == "round") return round;
  std::uint32_t quorum = 0;
  if (!absl::SimpleAtoi(name.substr(std::string("round:").size()), &quorum) || quorum < 1 || quorum > workers) {
    return Refused(name);
  }
  round.policy.set_round_quorum(quorum);
  absl::StrAppend(&round.flags, " --round_quorum=", quorum);
  return round;
}

absl::StatusOr<StudyPolicy> ParseEach(const std::string& name, const v1::Policy& base) {
  StudyPolicy each{name, "", base};
  each.policy.set_aggregation(v1::EACH);
  each.policy.set_round_quorum(0);
  each.policy.set_data_sharing(v1::LEASED);
  each.policy.set_delay_policy(v1::APPLY);
  std::optional<std::int64_t> bound, max_delay;
  bool scale = false;
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(name, '+'))) {
    const std::vector<std::string> words = absl::StrSplit(part, absl::MaxSplits(':', 1));
    std::int64_t number = 0;
    const bool numbered = words.size() == 2 && absl::SimpleAtoi(words[1], &number);
    if (words[0] == "bound" && numbered && number >= -1 && !bound) {
      bound = number;
    } else if (words[0] == "max_delay" && numbered && number >= 1 && !max_delay) {
      max_delay = number;
    } else if (part == "scale" && !scale) {
      scale = true;
    } else {
      return Refused(name);
    }
  }
  each.policy.set_staleness_bound(bound.value_or(-1));
  each.policy.set_max_delay(max_delay.value_or(-1));
  each.flags = absl::StrCat("--staleness_bound=", each.policy.staleness_bound());
  if (max_delay) absl::StrAppend(&each.flags, " --max_delay=", *max_delay);
  if (scale) {
    each.policy.set_delay_policy(v1::SCALE);
    absl::StrAppend(&each.flags, " --delay_policy=scale");
  }
  return each;
}

}  // namespace

absl::StatusOr<std::vector<StudyPolicy>> ParseStudyPolicies(const std::string& text, std::uint32_t workers,
                                                            const v1::Policy& base) {
  std::vector<StudyPolicy> policies;
  v1::Policy plain = base;
  plain.set_max_delay(-1);
  plain.set_delay_policy(v1::APPLY);
  for (const std::string& name : std::vector<std::string>(absl::StrSplit(text.empty() ? Usual(workers) : text, ','))) {
    const bool round = name == "round" || name.rfind("round:", 0) == 0;
    ASSIGN_OR_RETURN(StudyPolicy policy, round ? ParseRound(name, workers, plain) : ParseEach(name, plain));
    policies.push_back(std::move(policy));
  }
  if (policies.size() > kMostPolicies) return Refused(text);
  return policies;
}

}  // namespace leeway
