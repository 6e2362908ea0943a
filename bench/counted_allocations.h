// SPDX-License-Identifier: Apache-2.0
#pragma once

// Counts what a program allocates: operator new and delete are replaced by linking counted_allocations.cc.

#include <atomic>
#include <cstdint>

namespace natt::bench {

extern std::atomic<std::uint64_t> allocations;
extern std::atomic<std::int64_t> allocated_bytes;

}  // namespace natt::bench
