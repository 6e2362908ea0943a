// SPDX-License-Identifier: Apache-2.0
#pragma once

// Locked memory is for keys first (RLIMIT_MEMLOCK, proc(5)): what else wants some asks here.

#include <cstddef>
#include <cstdint>

namespace natt::spa {

// Whether this process may lock `size` octets more and `reserve` after that: it has no limit, may pass it
// (CAP_IPC_LOCK), or has not used so much of it yet.
[[nodiscard]] bool may_lock(std::uint64_t size, std::uint64_t reserve);

}  // namespace natt::spa
