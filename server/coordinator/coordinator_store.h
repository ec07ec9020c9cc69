// CoordinatorStore: the seam for what a restarted coordinator must know. The newest state is the truth, so it keeps
// one.
//
// Thread safety: every method, from any thread, with locks held or not; none blocks.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "proto/coordinator_state.pb.h"
#include "proto/manifest.pb.h"

namespace leeway {

class CoordinatorStore {
 public:
  virtual ~CoordinatorStore() = default;

  // Who says what is to be saved; before the first Changed. It is asked when there is something to write and the disk
  // is idle: once for all the changes until then. It may take locks with which Changed is called.
  using Source = std::function<v1::CoordinatorState()>;
  virtual void SetSource(Source source) = 0;

  // The model, which never changes again. States that name its fingerprint come after it.
  virtual void SetManifest(v1::Manifest manifest) = 0;

  // What the source says has changed.
  virtual void Changed() = 0;

  // Calls `done` once, when every change until now is saved: in line, or from a thread of the store. An error: it
  // will not be, as the process ends.
  using Done = std::function<void(const absl::Status&)>;
  virtual void WhenSaved(Done done) = 0;

  // UNAVAILABLE, with the reason: changes cannot be saved, and no more should come.
  virtual absl::Status Ready() = 0;
};

// Keeps nothing: the decisions live and die with the process, as the weights do without a journal.
class VolatileCoordinatorStore final : public CoordinatorStore {
 public:
  void SetSource(Source) override {}
  void SetManifest(v1::Manifest) override {}
  void Changed() override {}
  void WhenSaved(Done done) override { done(absl::OkStatus()); }
  absl::Status Ready() override { return absl::OkStatus(); }
};

}  // namespace leeway
