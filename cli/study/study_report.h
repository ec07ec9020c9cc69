// What a study has found, as a table or as JSON.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/study/model_learner.h"
#include "cli/study/simulation.h"
#include "cli/study/study_policies.h"
#include "cli/study/worker_speeds.h"

namespace leeway {

// What is looked for in the evaluations: an accuracy of at least, or a loss of at most, `value`.
struct StudyTarget {
  bool accuracy = true;
  double value = 0;
};

struct StudySetting {
  std::uint32_t workers = 0;
  std::uint32_t slow_workers = 0;
  Stragglers stragglers;
  double step_seconds = 1;
  double message_seconds = 0;
  double lease_seconds = 10;
  std::uint64_t pushes = 0;
  std::uint64_t seed = 1;
  // Of training; without a model all else is not used.
  std::string model;
  std::string data;
  int batch = 0;
  std::string optimizer;
  double learning_rate = 0;
  std::optional<StudyTarget> target;
};

struct StudyRow {
  StudyPolicy policy;
  int depth = 0;
  SimResult result;
  std::vector<ModelLearner::Evaluation> evaluations;
  std::uint64_t nonfinite = 0;
};

// When the target was first met; nothing: it was not.
std::optional<double> SecondsTo(const StudyTarget& target, const std::vector<ModelLearner::Evaluation>& evaluations);

std::string StudyTable(const StudySetting& setting, const std::vector<StudyRow>& rows);
std::string StudyJson(const StudySetting& setting, const std::vector<StudyRow>& rows);

}  // namespace leeway
