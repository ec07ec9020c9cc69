// Backend: where a worker's arithmetic runs. It hands out memory, streams and events; the arithmetic itself
// is ops() (kernels/ops.h), for transformers transformer_ops() (kernels/transformer_ops.h), and for optimizer steps and
// encodings vector_ops() (kernels/vector_ops.h). Models and the trainer know only these headers.
//
// Nothing assumes that device memory can be read by the host: a DevicePtr cannot be dereferenced, and data
// crosses by CopyToDevice/CopyToHost, enqueued on a Stream. On the `cpu` backend device memory is host memory,
// streams run their work before the call returns, and a copy of memory onto itself does nothing (HostTwin).
//
// Errors of enqueued work stick to its stream: Stream::Synchronize() returns the first, and so does every Event that
// was recorded after it. Nothing is enqueued once the error is known; on a device that works later than the host, what
// was enqueued meanwhile has run on what the failed work left. So enqueueing returns nothing, and a step checks once.
//
// Thread safety: a Backend may be used from any thread. A Stream, and the memory its work touches, belongs to
// one thread at a time. Events may be waited for from any thread.
// Ownership: memory, streams and events must not outlive their Backend, nor a twin its DeviceMemory.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

class Backend;
class Ops;
class TransformerOps;
class VectorOps;

// An address in device memory: it can be moved and handed to ops, not dereferenced.
template <typename T>
class DevicePtr {
 public:
  DevicePtr() = default;
  explicit DevicePtr(T* address) : address_(address) {}
  // DevicePtr<float> is a DevicePtr<const float>.
  template <typename U, typename = std::enable_if_t<std::is_convertible_v<U*, T*>>>
  DevicePtr(DevicePtr<U> other) : address_(other.address()) {}  // NOLINT: as implicit as for plain pointers

  // For backends only: what it means (a host or a CUDA address) is theirs to know.
  T* address() const { return address_; }
  explicit operator bool() const { return address_ != nullptr; }
  DevicePtr operator+(std::size_t elements) const { return DevicePtr(address_ + elements); }

 private:
  T* address_ = nullptr;
};

// A piece of memory with its owner; moved, never copied. `Tag` keeps host and device memory apart.
template <typename Tag>
class OwnedMemory {
 public:
  using Free = std::function<void(void*)>;

  OwnedMemory() = default;
  // `free` may be empty: then this is a view of memory that somebody else owns.
  OwnedMemory(void* address, std::size_t bytes, Free free)
      : address_(address, Deleter{std::move(free)}), bytes_(bytes) {}

  std::size_t bytes() const { return bytes_; }
  void* address() const { return address_.get(); }

 private:
  struct Deleter {
    Free free;
    void operator()(void* address) const {
      if (free) free(address);
    }
  };
  std::unique_ptr<void, Deleter> address_;
  std::size_t bytes_ = 0;
};

// Device memory, zeroed, aligned to at least 64 bytes.
class DeviceMemory : public OwnedMemory<DeviceMemory> {
 public:
  using OwnedMemory::OwnedMemory;
  template <typename T>
  DevicePtr<T> as() const {
    return DevicePtr<T>(static_cast<T*>(address()));
  }
  DevicePtr<float> floats() const { return as<float>(); }
};

// Host memory, zeroed, aligned to at least 64 bytes, that the device can copy from and to asynchronously (pinned).
class HostMemory : public OwnedMemory<HostMemory> {
 public:
  using OwnedMemory::OwnedMemory;
  template <typename T>
  T* as() const {
    return static_cast<T*>(address());
  }
  float* floats() const { return as<float>(); }
};

// A point in a stream's work. Before the first Record it counts as reached.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks the calling thread until the recorded point is reached. Returns the stream's error, if any.
  virtual absl::Status Synchronize() = 0;
};

// A queue of device work that runs in order.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Backend& backend() const = 0;
  // `event` is reached when all work enqueued so far is done.
  virtual void Record(Event& event) = 0;
  // Work enqueued from now on starts after `event` is reached; the calling thread does not wait.
  virtual void WaitFor(Event& event) = 0;
  // Blocks until all work is done. Returns the first error of that work (INTERNAL: the device or its library
  // failed; INVALID_ARGUMENT: an op met an impossible value, such as a label that names no class) and clears it.
  virtual absl::Status Synchronize() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // For people: "cpu (oneDNN 2.6.3, 1 thread)".
  virtual std::string description() const = 0;

  // RESOURCE_EXHAUSTED: there is not that much memory. `bytes` of 0 gives empty memory.
  virtual absl::StatusOr<DeviceMemory> Allocate(std::size_t bytes) = 0;
  virtual absl::StatusOr<HostMemory> AllocateHost(std::size_t bytes) = 0;
  // Host memory as large as `memory`, to be copied to or from it: the same memory where the host can address
  // it (the copies then cost nothing), pinned memory of its own elsewhere.
  virtual absl::StatusOr<HostMemory> HostTwin(const DeviceMemory& memory) = 0;

  virtual absl::StatusOr<std::unique_ptr<Stream>> NewStream() = 0;
  virtual absl::StatusOr<std::unique_ptr<Event>> NewEvent() = 0;

  // Enqueue a copy of `bytes`. The host memory must stay as it is until the stream has passed the copy; unless it
  // came from AllocateHost or HostTwin, the call may block until then. Source == destination does nothing.
  virtual void CopyToDevice(Stream& stream, DevicePtr<void> destination, const void* source, std::size_t bytes) = 0;
  virtual void CopyToHost(Stream& stream, void* destination, DevicePtr<const void> source, std::size_t bytes) = 0;

  virtual Ops& ops() = 0;
  virtual TransformerOps& transformer_ops() = 0;
  virtual VectorOps& vector_ops() = 0;
};

}  // namespace leeway
