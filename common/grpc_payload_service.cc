#include "common/grpc_payload_service.h"

#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/grpc_buffer.h"
#include "common/grpc_status.h"
#include "common/retry.h"

namespace leeway {
namespace {

constexpr char kPackage[] = "/leeway.v1.";
// What a client waits that has too many calls waiting already: some chunks' time on a fast network.
constexpr absl::Duration kRefusedRetry = absl::Milliseconds(50);

}  // namespace

// One call: reads the request when it may, hands it to the handler, sends the reply. It ends by OnDone, which comes
// after Finish and every reaction that is under way.
class PayloadCall final : public grpc::ServerGenericBidiReactor {
 public:
  PayloadCall(PayloadService* service, grpc::GenericCallbackServerContext* context) : service_(service) {
    if (absl::StartsWith(context->method(), kPackage)) method_ = context->method().substr(sizeof(kPackage) - 1);
    const bool ours = method_ == "ParameterServer/Push" || method_ == "ParameterServer/PushPull" ||
                      method_ == "ParameterServer/PutWeights";
    if (!ours) {
      Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no method " + context->method()));
      return;
    }
    connection_ = context->peer();
    ReadTurns::Answer answer;
    {
      MutexLock lock(service_->mu_);
      answer = service_->turns_.Arrive(connection_, this);
    }
    if (answer == ReadTurns::Answer::kRead) StartRead(&request_);
    if (answer == ReadTurns::Answer::kRefuse) {
      Finish(ToGrpc(WithRetryAfter(absl::ResourceExhaustedError(absl::StrCat("more than ", ReadTurns::kWaiting,
                                                                             " calls of this connection wait")),
                                   kRefusedRetry)));
    }
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      // Nothing of `this` is touched once the reply may have been sent, but OnDone waits for this reaction's end.
      service_->handler_->Handle(method_, FromGrpc(request_), [this](absl::Status status, const Buffer& reply) {
        if (!status.ok()) return Finish(ToGrpc(status));
        reply_ = ToGrpc(reply);
        StartWriteAndFinish(&reply_, grpc::WriteOptions(), grpc::Status::OK);
      });
      // From here on the handler answers for the request's memory, if it still holds it.
      request_.Clear();
    } else {
      Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the call ended before it had brought a message"));
    }
    PayloadCall* next;
    {
      MutexLock lock(service_->mu_);
      next = service_->turns_.Done(connection_);
    }
    if (next != nullptr) next->StartRead(&next->request_);
  }

  void OnCancel() override {
    bool waited;
    {
      MutexLock lock(service_->mu_);
      waited = !connection_.empty() && service_->turns_.Forget(connection_, this);
    }
    if (waited) Finish(grpc::Status::CANCELLED);
  }

  void OnDone() override { delete this; }

 private:
  PayloadService* const service_;
  std::string method_;
  std::string connection_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer reply_;
};

grpc::ServerGenericBidiReactor* PayloadService::CreateReactor(grpc::GenericCallbackServerContext* context) {
  return new PayloadCall(this, context);
}

std::size_t PayloadService::reading() {
  MutexLock lock(mu_);
  return turns_.reading();
}

}  // namespace leeway
