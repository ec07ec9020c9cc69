#include "common/grpc_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/grpc_authorize.h"
#include "common/grpc_buffer.h"
#include "common/grpc_credentials.h"
#include "common/grpc_keepalive.h"
#include "common/grpc_log.h"
#include "common/grpc_payload_service.h"
#include "common/grpc_status.h"
#include "common/message_size.h"
#include "common/read_turns.h"
#include "common/socket.h"
#include "proto/checkpoint_store.grpc.pb.h"
#include "proto/coordinator.grpc.pb.h"
#include "proto/parameter_server.grpc.pb.h"

namespace leeway {
namespace {

// Streams of one connection, above which a client queues. A worker has at most 8 pulls under way per step of its
// pipeline, which a gate may hold, 8 pushes, and a dozen calls of the coordinator: at depth 14, the greatest, gated
// pulls leave more than half of these to what opens gates.
constexpr int kMaxStreams = 256;

// How long Shutdown waits before it cancels calls that the handler has not answered.
constexpr absl::Duration kShutdownGrace = absl::Seconds(5);

// Whom the services serve, and whom not.
struct Served {
  RequestHandler* handler;
  Security security;
};

grpc::ServerUnaryReactor* Route(const Served& served, const char* method, grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request, grpc::ByteBuffer* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (const absl::Status allowed = Authorize(served.security, method, *context); !allowed.ok()) {
    reactor->Finish(ToGrpc(allowed));
    return reactor;
  }
  // Who dies between the beginning of a call and its message: gRPC calls that a message without a byte.
  if (!request->Valid()) {
    reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, "the call ended before it had brought a message"});
    return reactor;
  }
  served.handler->Handle(method, FromGrpc(*request), [reactor, reply](absl::Status status, Buffer bytes) {
    if (status.ok()) *reply = ToGrpc(bytes);
    reactor->Finish(ToGrpc(status));
  });
  return reactor;
}

#define LEEWAY_ROUTE(service, method)                                                                     \
  grpc::ServerUnaryReactor* method(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request, \
                                   grpc::ByteBuffer* reply) override {                                    \
    return Route(served_, #service "/" #method, context, request, reply);                                 \
  }

using P = v1::ParameterServer;
// "Generic": PayloadService serves it.
using ParameterServerBase = P::WithRawCallbackMethod_Pull<P::WithRawCallbackMethod_WatchRound<
    P::WithGenericMethod_Push<P::WithGenericMethod_PushPull<P::WithGenericMethod_PutWeights<P::Service>>>>>;

class ParameterServerService final : public ParameterServerBase {
 public:
  explicit ParameterServerService(const Served& served) : served_(served) {}
  LEEWAY_ROUTE(ParameterServer, Pull)
  LEEWAY_ROUTE(ParameterServer, WatchRound)

 private:
  const Served served_;
};

using C = v1::Coordinator;
using CoordinatorBase = C::WithRawCallbackMethod_Join<C::WithRawCallbackMethod_Heartbeat<
    C::WithRawCallbackMethod_Leave<C::WithRawCallbackMethod_WatchMembership<C::WithRawCallbackMethod_ReportRound<
        C::WithRawCallbackMethod_OpenPush<C::WithRawCallbackMethod_AcquireData<C::WithRawCallbackMethod_CommitData<
            C::WithRawCallbackMethod_ReportProgress<C::WithRawCallbackMethod_GetStatus<
                C::WithRawCallbackMethod_Checkpoint<C::WithRawCallbackMethod_SetPolicy<
                    C::WithRawCallbackMethod_Drain<C::WithRawCallbackMethod_ClaimShard<C::Service>>>>>>>>>>>>>>;

class CoordinatorService final : public CoordinatorBase {
 public:
  explicit CoordinatorService(const Served& served) : served_(served) {}
  LEEWAY_ROUTE(Coordinator, Join)
  LEEWAY_ROUTE(Coordinator, Heartbeat)
  LEEWAY_ROUTE(Coordinator, Leave)
  LEEWAY_ROUTE(Coordinator, WatchMembership)
  LEEWAY_ROUTE(Coordinator, ReportRound)
  LEEWAY_ROUTE(Coordinator, OpenPush)
  LEEWAY_ROUTE(Coordinator, AcquireData)
  LEEWAY_ROUTE(Coordinator, CommitData)
  LEEWAY_ROUTE(Coordinator, ReportProgress)
  LEEWAY_ROUTE(Coordinator, GetStatus)
  LEEWAY_ROUTE(Coordinator, Checkpoint)
  LEEWAY_ROUTE(Coordinator, SetPolicy)
  LEEWAY_ROUTE(Coordinator, Drain)
  LEEWAY_ROUTE(Coordinator, ClaimShard)

 private:
  const Served served_;
};

using S = v1::CheckpointStore;
using CheckpointStoreBase =
    S::WithGenericMethod_Write<S::WithRawCallbackMethod_Read<S::WithRawCallbackMethod_List<S::Service>>>;

class CheckpointStoreService final : public CheckpointStoreBase {
 public:
  explicit CheckpointStoreService(const Served& served) : served_(served) {}
  LEEWAY_ROUTE(CheckpointStore, Read)
  LEEWAY_ROUTE(CheckpointStore, List)

 private:
  const Served served_;
};

#undef LEEWAY_ROUTE

}  // namespace

class GrpcServer::Impl {
 public:
  Impl(RequestHandler* handler, const Options& options)
      : options_(options),
        parameter_server_({handler, options_.security}),
        coordinator_({handler, options_.security}),
        checkpoint_store_({handler, options_.security}),
        payloads_(handler, options_.security, options_.longest_turn) {}

  absl::Status Start(const std::string& listen, const Keepalive& keepalive) {
    static std::once_flag once;
    std::call_once(once, [] {
      grpc::EnableDefaultHealthCheckService(true);
      grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    });
    RouteLibraryLogs();
    // gRPC says only that it failed; a plain bind says why.
    if (absl::Status free = CheckListenAddress(listen); !free.ok()) return free;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(listen, ServerCredentialsOf(options_.security), &port_);
    // Without this, two servers on one port would share it silently.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kGrpcFrameBytes);
    SetKeepalive(keepalive, &builder);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
    // With bandwidth probing, gRPC 1.51 lets every stream send 4 MiB before anybody reads (docs/adr/0010).
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(ReadTurns::kFirstBytes));
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                               static_cast<int>(absl::ToInt64Milliseconds(options_.handshake_time)));
    builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
    // gRPC 1.51 unpacks a message before it looks how large it has become: 16 MiB make 16 GiB. Nobody of ours packs
    // them.
    builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
    builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterService(&parameter_server_);
    builder.RegisterService(&coordinator_);
    builder.RegisterService(&checkpoint_store_);
    builder.RegisterCallbackGenericService(&payloads_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", listen, ": gRPC refused the address"));
    }
    return absl::OkStatus();
  }

  void Shutdown() {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kShutdownGrace));
    server_->Wait();
    server_ = nullptr;
  }

  void SetServing(bool serving) {
    if (server_ != nullptr) server_->GetHealthCheckService()->SetServingStatus(serving);
  }

  int port() const { return port_; }
  std::size_t reading() { return payloads_.reading(); }

 private:
  const Options options_;
  ParameterServerService parameter_server_;
  CoordinatorService coordinator_;
  CheckpointStoreService checkpoint_store_;
  PayloadService payloads_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;  // last: it calls the services
};

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const std::string& listen, RequestHandler* handler,
                                                              const Options& options) {
  auto impl = std::make_unique<Impl>(handler, options);
  if (absl::Status status = impl->Start(listen, options.keepalive); !status.ok()) return status;
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcServer::~GrpcServer() { Shutdown(); }
int GrpcServer::port() const { return impl_->port(); }
std::size_t GrpcServer::reading() const { return impl_->reading(); }
void GrpcServer::SetServing(bool serving) { impl_->SetServing(serving); }
void GrpcServer::Shutdown() { impl_->Shutdown(); }

}  // namespace leeway
