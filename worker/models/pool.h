// 2x2 max pooling, stride 2, then an activation. ReLU and maximum commute, so that a ReLU before the pool is
// written as one after it: the same function and gradient for a quarter of the work.
#pragma once

#include <memory>

#include "worker/models/layer.h"

namespace leeway {

// `input` is at least 2 x 2.
std::unique_ptr<Layer> MakeMaxPool(const Shape& input, Activation activation);

}  // namespace leeway
