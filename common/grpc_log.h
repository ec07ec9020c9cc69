// RouteLibraryLogs: what gRPC and protobuf would print on stderr by themselves goes into the log, so that its lines are
// of one form. Strangers can make both complain, so that at most a line a second of each is written.
//
// Thread safety: from main(), after InitLogging, before threads start.
#pragma once

namespace leeway {

void RouteLibraryLogs();

}  // namespace leeway
