// A 3x3 convolution with bias, stride 1, padding 1: height and width stay.
#pragma once

#include <cstdint>
#include <memory>

#include "worker/models/layer.h"

namespace leeway {

std::unique_ptr<Layer> MakeConv3x3(const Shape& input, std::int64_t out_channels);

}  // namespace leeway
