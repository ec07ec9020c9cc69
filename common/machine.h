// What this process may use of the machine: memory, cores, and what the CPU is called.
//
// Thread safety: pure functions but for the system files that they read.
#pragma once

#include <cstdint>
#include <string>

namespace leeway {

// Bytes of memory, or of the tightest memory limit of the control groups (v2 or v1) that this process is in.
std::uint64_t TotalMemoryBytes();

// Cores that this process may run on at once, at least 1: its affinity mask, or its control groups' CPU
// quota rounded up where that is less.
int AvailableCores();

// Names this machine and this process's network namespace: processes of the same name reach each other's abstract
// unix sockets. "" where the system does not say.
std::string HostId();

// "AMD EPYC 9654 96-Core Processor"; "unknown CPU" where the system does not say.
std::string CpuName();

// "0 B", "1.5 KiB", "431 MiB", "1.25 TiB": three digits, binary units.
std::string FormatBytes(std::uint64_t bytes);

}  // namespace leeway
