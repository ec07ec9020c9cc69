// gRPC without Leeway, as baselines: the service's generated protobuf stub, where `bytes payload` is a string that is
// copied and serialized; and an echo of raw bytes through gRPC's callback interface.
//
// Thread safety: ProtobufClient one thread; EchoClient any thread, and its callbacks come on gRPC's.
// Ownership: a server that was started serves until it is destroyed; EchoClient outlives its calls.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace leeway {

class PlainServer {
 public:
  virtual ~PlainServer() = default;
  virtual const std::string& address() const = 0;
};

// Answers a Push with a verdict and a Pull with `bytes` bytes, of floats i % 1000 (i: the index). On a free port of
// 127.0.0.1.
absl::StatusOr<std::unique_ptr<PlainServer>> StartProtobufServer(std::size_t bytes);
// Answers a Push with what it carries, as raw bytes.
absl::StatusOr<std::unique_ptr<PlainServer>> StartEchoServer();

class ProtobufClient {
 public:
  virtual ~ProtobufClient() = default;
  virtual absl::Status Push(const void* from) = 0;  // one message for all
  virtual absl::Status Pull(void* to) = 0;
};
std::unique_ptr<ProtobufClient> MakeProtobufClient(const std::string& address, std::size_t bytes);

class EchoClient {
 public:
  virtual ~EchoClient() = default;
  virtual void Call(const std::string& bytes, std::function<void(const absl::Status&)> done) = 0;
};
std::unique_ptr<EchoClient> MakeEchoClient(const std::string& address);

}  // namespace leeway
