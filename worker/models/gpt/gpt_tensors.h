// GptTensors: the manifest of a `gpt` model, and where in it each tensor is.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <string>

#include "proto/manifest.pb.h"
#include "worker/models/gpt/gpt_config.h"

namespace leeway {

// The order of the manifest: wte, wpe, the layers' twelve each, ln_f's two.
struct GptTensors {
  enum InLayer : std::size_t {
    kNorm1Gain,
    kNorm1Bias,
    kQkvWeight,
    kQkvBias,
    kAttentionWeight,
    kAttentionBias,
    kNorm2Gain,
    kNorm2Bias,
    kUpWeight,
    kUpBias,
    kDownWeight,
    kDownBias,
    kPerLayer
  };
  static constexpr std::size_t kTokens = 0, kPositions = 1;

  static std::size_t Layer(std::size_t layer, InLayer tensor) { return 2 + layer * kPerLayer + tensor; }
  static std::size_t FinalGain(const GptConfig& config) {
    return Layer(static_cast<std::size_t>(config.layers), kNorm1Gain);
  }
  static std::size_t FinalBias(const GptConfig& config) { return FinalGain(config) + 1; }
};

v1::Manifest GptManifest(const std::string& name, const GptConfig& config);

}  // namespace leeway
