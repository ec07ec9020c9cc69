// EndProcess: how a program that has used gRPC ends.
//
// Thread safety: any thread.
#pragma once

namespace leeway {

// Flushes logs and standard streams and ends the process. Static destructors do not run: gRPC's threads live
// as long as the process, and would find what they use destroyed under them (seen as "assertion failed:
// prior > 0" and SIGABRT after main had returned).
[[noreturn]] void EndProcess(int code);

}  // namespace leeway
