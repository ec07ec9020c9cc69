#include "common/grpc_transport.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/grpc_buffer.h"
#include "common/grpc_credentials.h"
#include "common/grpc_keepalive.h"
#include "common/grpc_log.h"
#include "common/grpc_status.h"
#include "common/message_size.h"
#include "common/mutex.h"
#include "common/socket.h"

namespace leeway {
namespace {

using RawStub = grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>;

grpc::ChannelArguments Arguments(const TlsFiles& tls, const Keepalive& keepalive) {
  grpc::ChannelArguments arguments;
  if (!tls.server_name.empty()) arguments.SetSslTargetNameOverride(tls.server_name);
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kGrpcFrameBytes);
  // A restarted `ps` is found within 2 s, not after gRPC's 120 s back-off or its 30 s of stale DNS.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // So long may an attempt take, with TLS's handshake: three times there and back, and arithmetic at both ends.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, tls.empty() ? 500 : 3000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
  // Without it, channels with the same arguments share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  SetKeepalive(keepalive, &arguments);
  // Shards and workers talk directly; a proxy from the environment would be a surprise.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

class GrpcTransport final : public Transport {
 public:
  explicit GrpcTransport(const GrpcTransportOptions& options)
      : options_(options), credentials_(ChannelCredentialsOf(options.security)) {
    RouteLibraryLogs();
  }

  ~GrpcTransport() override {
    MutexLock lock(mu_);
    stopping_ = true;
    for (grpc::ClientContext* context : cancellable_) context->TryCancel();
    while (under_way_ > 0) idle_.Wait(mu_);
  }

  void Call(const std::string& address, const std::string& method, Buffer request, absl::Duration timeout,
            ReplyCallback done) override {
    auto call = std::make_shared<CallState>();
    call->request = ToGrpc(request);
    call->context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    if (const TokenSource* token = options_.security.token.get(); token != nullptr) {
      if (!MaySendToken(address)) {
        return done(
            absl::PermissionDeniedError(absl::StrCat(
                address, ": a token is not sent in the clear to another machine: --tls_cert_file, or --insecure")),
            {});
      }
      call->context.AddMetadata("authorization", token->Bearer());
    }
    RawStub* stub = nullptr;
    {
      MutexLock lock(mu_);
      if (!stopping_) {
        stub = StubFor(address, method);
        cancellable_.insert(&call->context);
        ++under_way_;
      }
    }
    if (stub == nullptr) return done(absl::CancelledError("transport: shutting down"), {});
    stub->UnaryCall(&call->context, "/leeway.v1." + method, grpc::StubOptions(), &call->request, &call->reply,
                    [this, call, address, done = std::move(done)](grpc::Status status) mutable {
                      bool ending = false;
                      {
                        MutexLock lock(mu_);
                        cancellable_.erase(&call->context);
                        ending = stopping_;
                      }
                      absl::Status result = FromGrpc(status);
                      if (absl::IsCancelled(result) && !ending) {
                        result = absl::UnavailableError("the server ended in the middle of the call");
                      }
                      if (!result.ok()) result = Explain(address, result);
                      done(std::move(result), FromGrpc(call->reply));
                      // What the call holds goes first: the destructor may run as soon as nothing is under way.
                      done = nullptr;
                      call = nullptr;
                      MutexLock lock(mu_);
                      --under_way_;
                      idle_.NotifyAll();
                    });
  }

 private:
  struct CallState {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer reply;
  };
  struct Connections {
    std::vector<std::unique_ptr<RawStub>> stubs;
    std::size_t next = 0;  // into stubs
  };
  struct Server {
    std::unique_ptr<RawStub> control;
    Connections pulls, others;
  };

  // A connection's failure does not say to whom it was; people need to know.
  static absl::Status Explain(const std::string& address, const absl::Status& status) {
    if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
    absl::Status out(status.code(), address + ": " + std::string(status.message()));
    status.ForEachPayload([&out](auto url, const auto& payload) { out.SetPayload(url, payload); });
    return out;
  }

  bool MaySendToken(const std::string& address) const {
    return !options_.security.tls.empty() || options_.security.insecure || IsLoopback(address);
  }

  std::unique_ptr<RawStub> Connect(const std::string& address) const {
    return std::make_unique<RawStub>(
        grpc::CreateCustomChannel(address, credentials_, Arguments(options_.security.tls, options_.keepalive)));
  }

  RawStub* StubFor(const std::string& address, const std::string& method) LEEWAY_REQUIRES(mu_) {
    Server& server = servers_[address];
    if (absl::StartsWith(method, "Coordinator/")) {
      if (server.control == nullptr) server.control = Connect(address);
      return server.control.get();
    }
    Connections& data = method == "ParameterServer/Pull" ? server.pulls : server.others;
    if (data.stubs.size() < static_cast<std::size_t>(options_.data_connections)) {
      data.stubs.push_back(Connect(address));
      return data.stubs.back().get();
    }
    data.next = (data.next + 1) % data.stubs.size();
    return data.stubs[data.next].get();
  }

  const GrpcTransportOptions options_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  Mutex mu_;
  CondVar idle_;
  bool stopping_ LEEWAY_GUARDED_BY(mu_) = false;
  std::map<std::string, Server> servers_ LEEWAY_GUARDED_BY(mu_);
  std::set<grpc::ClientContext*> cancellable_ LEEWAY_GUARDED_BY(mu_);
  std::size_t under_way_ LEEWAY_GUARDED_BY(mu_) = 0;  // calls whose callback has not returned
};

}  // namespace

std::unique_ptr<Transport> MakeGrpcTransport(const GrpcTransportOptions& options) {
  return std::make_unique<GrpcTransport>(options);
}

}  // namespace leeway
