// Cluster: a worker's encoded pushes, end to end over a FakeCluster, and the sum that must hold whatever becomes of
// them. The host encodes them, or a device does: the cpu backend stands for one with memory of its own.
//
// Thread safety: none; what the pushes call takes the FakeCluster's lock.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/device.h"
#include "kernels/finite.h"
#include "tests/support/random.h"
#include "tests/worker/client/runtime.h"
#include "worker/client/chunk_memory.h"
#include "worker/client/chunk_tracker.h"
#include "worker/client/push.h"
#include "worker/trainer/device_encoder.h"

namespace leeway {

enum class By { kHost, kDevice };
inline constexpr std::size_t kSlots = 3;  // of pushes in flight

struct Cluster {
  Cluster(std::uint64_t elements, std::uint32_t shards, const PushEncoding& encoding, By by = By::kHost)
      : fake(elements, shards, v1::Policy(), 0), placement(Placement::Make(elements, shards).value()), given(elements) {
    if (by == By::kDevice) {
      backend = MakeBackend("cpu", 1).value();
      computed = backend->NewEvent().value();
      device = DeviceEncoder::Make(*backend, placement, encoding, int{kSlots}).value();
    } else if (encoding.encoding != v1::F32) {
      encoder = std::make_shared<Push::Encoder>(placement, encoding, *runtime.executor);
    }
    ChunkTracker tracker(placement);
    ids = tracker.MarkFinal(0, elements);
    runtime.caller.SetShardAddresses({fake.join.shard_addresses().begin(), fake.join.shard_addresses().end()});
    Rejoin();
  }

  void Rejoin() {
    MutexLock lock(fake.mu);
    view = std::make_shared<ClusterView>(fake.join, ++incarnation, [] {});
  }

  struct InFlight {
    std::uint64_t clock = 0;
    int slot() const { return static_cast<int>(clock % kSlots); }
    std::vector<float> gradient;
    std::promise<PushResult> result;
    std::shared_ptr<Push> push;
    PushResult Wait() { return result.get_future().get(); }
  };
  std::shared_ptr<InFlight> New(std::vector<float> gradient, int holds = 0) {
    auto in_flight = std::make_shared<InFlight>();
    in_flight->clock = clock++;
    in_flight->gradient = std::move(gradient);
    Push::Request request;
    request.clock = in_flight->clock;
    request.samples = 32;
    if (device != nullptr) {
      device->BeginStep();
      request.encoded = {device->encoding(),
                         [d = device, slot = in_flight->slot()](ChunkId id) { return d->Bytes(slot, id); },
                         [d = device](ChunkId id, const Buffer& bytes) { d->Return(id, bytes); }};
    }
    in_flight->push =
        std::make_shared<Push>(runtime.caller, view, placement, request, holds, nullptr, in_flight->gradient.data(),
                               encoder, [p = in_flight.get()](PushResult r) { p->result.set_value(std::move(r)); });
    return in_flight;
  }
  // Makes chunk `n` ready. What can be encoded of its gradient counts as given: of a chunk that is not finite nothing,
  // where the host encodes it; on a device its other blocks.
  void Ready(InFlight& in_flight, std::size_t n) {
    const std::vector<float>& gradient = in_flight.gradient;
    const ChunkRun run = placement.Chunk(ids[n].shard, ids[n].chunk);
    const auto finite = [&](std::uint64_t begin, std::size_t count) {
      return FirstNonFinite(&gradient[begin], count) == count;
    };
    bool all = true;
    ForEachBlock(placement, run, [&](std::uint64_t begin, std::size_t count) { all = all && finite(begin, count); });
    ForEachBlock(placement, run, [&](std::uint64_t begin, std::size_t count) {
      const bool counts = device != nullptr ? finite(begin, count) : all;
      for (std::size_t i = begin; counts && i < begin + count; ++i) given[i] += gradient[i];
      if (device == nullptr) return;
      const DevicePtr<const float> values(gradient.data());
      for (const ChunkId id : device->MarkFinal(in_flight.slot(), values, begin, count, *computed)) {
        if (!device->Wait(in_flight.slot(), id).ok()) in_flight.push->Abandon();
      }
    });
    in_flight.push->Ready(ids[n]);
  }
  void AllReady(InFlight& in_flight) {
    for (std::size_t n = 0; n < ids.size(); ++n) Ready(in_flight, n);
  }
  // sum(applied) + residual - sum(gradients), at its worst element.
  double Error() {
    const std::vector<float> residual = Residual();
    MutexLock lock(fake.mu);
    double worst = 0;
    for (std::size_t i = 0; i < given.size(); ++i) {
      worst = std::max(worst, std::abs(fake.applied[i] + double{residual[i]} - given[i]));
    }
    return worst;
  }
  std::vector<float> Residual() {
    return device != nullptr ? device->Residual().value() : encoder->feedback.residual();
  }

  std::unique_ptr<Backend> backend;  // of the device
  std::unique_ptr<Event> computed;
  FakeCluster fake;
  Runtime runtime{fake};
  const Placement placement;
  std::shared_ptr<Push::Encoder> encoder;
  std::shared_ptr<DeviceEncoder> device;
  std::vector<double> given;
  std::vector<ChunkId> ids;
  std::shared_ptr<ClusterView> view;
  std::uint64_t incarnation = 40;
  std::uint64_t clock = 0;
};

inline std::vector<float> WholeNumbers(std::uint64_t elements, Random& random) {
  std::vector<float> gradient(elements);
  for (float& g : gradient) g = static_cast<float>(random.Below(21)) - 10.0f;
  return gradient;
}

}  // namespace leeway
