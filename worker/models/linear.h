// A fully connected layer: y = activation(x w^T + bias), w [out, in], over all elements of a sample.
#pragma once

#include <cstdint>
#include <memory>

#include "worker/models/layer.h"

namespace leeway {

std::unique_ptr<Layer> MakeLinear(const Shape& input, std::int64_t outputs, Activation activation);

}  // namespace leeway
