// SPDX-License-Identifier: Apache-2.0
#pragma once

// Every channel, tunnel over TCP and stream is a descriptor. A process starts with a soft
// limit of 1024 for the sake of programs that use select(2); these here do not.

#include <cstdint>

namespace natt::program {

// Raises the soft limit of RLIMIT_NOFILE to the hard one (getrlimit(2)), which a service manager sets. Returns what is
// in force then. Once, before anything looks at the limit.
std::uint64_t raise_descriptor_limit();

}  // namespace natt::program
