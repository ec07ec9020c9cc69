// PsHttp: what a `ps` answers over HTTP (common/process_http.h), from before it reads its files until it ends; on shard
// 0 also the status page. /metrics is everybody's.
//
// Thread safety: Start, Serve, Leave and destruction from one thread.
// Ownership: the node outlives Leave().
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/http_server.h"
#include "common/mutex.h"
#include "common/security.h"
#include "proto/coordinator.pb.h"
#include "server/ps_node.h"

namespace leeway {

class PsHttp {
 public:
  // Errors: as StartProcessHttp. With --http_port=-1 it answers nobody.
  static absl::StatusOr<std::unique_ptr<PsHttp>> Start(const std::string& name, std::uint32_t shard_index,
                                                       const Security& security);
  ~PsHttp();

  void Serve(PsNode* node);  // from now on it is asked
  void Leave();              // and no more

 private:
  PsHttp() = default;
  absl::Status Ready();
  absl::StatusOr<v1::GetStatusReply> Status();  // of shard 0
  std::string Metrics();

  Mutex mu_;
  PsNode* node_ LEEWAY_GUARDED_BY(mu_) = nullptr;  // null: not yet, or no more
  bool left_ LEEWAY_GUARDED_BY(mu_) = false;
  std::unique_ptr<HttpServer> server_;  // null: none; the last member, as its thread uses the others
};

}  // namespace leeway
