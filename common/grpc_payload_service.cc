#include "common/grpc_payload_service.h"

#include <grpcpp/alarm.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/grpc_authorize.h"
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
  PayloadCall(PayloadService* service, grpc::GenericCallbackServerContext* context)
      : service_(service), context_(context) {
    if (absl::StartsWith(context->method(), kPackage)) method_ = context->method().substr(sizeof(kPackage) - 1);
    const bool ours = method_ == "ParameterServer/Push" || method_ == "ParameterServer/PushPull" ||
                      method_ == "ParameterServer/PutWeights" || method_ == "CheckpointStore/Write";
    if (!ours) {
      Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no method " + context->method()));
      return;
    }
    if (const absl::Status allowed = Authorize(service_->security_, method_, *context); !allowed.ok()) {
      Finish(ToGrpc(allowed));
      return;
    }
    connection_ = context->peer();
    ReadTurns::Answer answer;
    {
      MutexLock lock(service_->mu_);
      answer = service_->turns_.Arrive(connection_, this);
    }
    if (answer == ReadTurns::Answer::kRead) Read();
    if (answer == ReadTurns::Answer::kRefuse) {
      Finish(ToGrpc(WithRetryAfter(absl::ResourceExhaustedError(absl::StrCat("more than ", ReadTurns::kWaiting,
                                                                             " calls of this connection wait")),
                                   kRefusedRetry)));
    }
  }

  void OnReadDone(bool ok) override {
    {
      MutexLock lock(mu_);
      read_ = true;
    }
    turn_.Cancel();
    if (ok) {
      // Nothing of `this` is touched once the reply may have been sent, but OnDone waits for this reaction's end.
      service_->handler_->Handle(method_, FromGrpc(request_), [this](absl::Status status, const Buffer& reply) {
        if (status.ok()) reply_ = ToGrpc(reply);
        End(ToGrpc(status));
      });
      // From here on the handler answers for the request's memory, if it still holds it.
      request_.Clear();
    } else {
      End(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the call ended before it had brought a message"));
    }
    PayloadCall* next;
    {
      MutexLock lock(service_->mu_);
      next = service_->turns_.Done(connection_);
    }
    if (next != nullptr) next->Read();
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
  // Its turn has come, and ends at the latest after longest_turn_: who stops in the middle of a message, with or
  // without a deadline of his own, must not keep the others waiting.
  void Read() {
    turn_.Set(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(service_->longest_turn_),
              [this](bool over) { OnTurnEnd(over); });
    StartRead(&request_);
  }

  void OnTurnEnd(bool over) {
    bool stalled;
    {
      MutexLock lock(mu_);
      stalled = over && !read_;
    }
    // The call is not finished before turn_over_ is set, so its context is there.
    if (stalled) context_->TryCancel();
    {
      MutexLock lock(mu_);
      turn_over_ = true;
      if (!end_) return;
    }
    SendEnd();
  }

  // Once, after a turn.
  void End(grpc::Status status) {
    {
      MutexLock lock(mu_);
      end_ = std::move(status);
      if (!turn_over_) return;
    }
    SendEnd();
  }

  void SendEnd() {
    grpc::Status status;
    {
      MutexLock lock(mu_);
      status = *end_;
    }
    if (status.ok()) {
      StartWriteAndFinish(&reply_, grpc::WriteOptions(), status);
    } else {
      Finish(status);
    }
  }

  PayloadService* const service_;
  grpc::GenericCallbackServerContext* const context_;
  std::string method_;
  std::string connection_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer reply_;
  grpc::Alarm turn_;

  Mutex mu_;
  bool read_ LEEWAY_GUARDED_BY(mu_) = false;       // or failed to
  bool turn_over_ LEEWAY_GUARDED_BY(mu_) = false;  // turn_ will not call any more
  std::optional<grpc::Status> end_ LEEWAY_GUARDED_BY(mu_);
};

grpc::ServerGenericBidiReactor* PayloadService::CreateReactor(grpc::GenericCallbackServerContext* context) {
  return new PayloadCall(this, context);
}

std::size_t PayloadService::reading() {
  MutexLock lock(mu_);
  return turns_.reading();
}

}  // namespace leeway
