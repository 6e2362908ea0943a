// SPDX-License-Identifier: Apache-2.0
#include "memory_budget.h"

#include <sys/resource.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

namespace natt::spa {
namespace {

// linux/capability.h
constexpr int kCapIpcLock = 14;

struct LockedNow {
  std::uint64_t octets = 0;
  bool unlimited = false;
};

// "CapEff:\t0000000000004000", "VmLck:\t      12 kB".
std::optional<LockedNow> read_locked() {
  std::ifstream status("/proc/self/status");
  if (!status) return std::nullopt;
  LockedNow now;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmLck:")) now.octets = std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
    if (line.starts_with("CapEff:")) {
      now.unlimited = (std::strtoull(line.c_str() + 7, nullptr, 16) >> kCapIpcLock & 1) != 0;
    }
  }
  return now;
}

}  // namespace

bool may_lock(std::uint64_t size, std::uint64_t reserve) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return false;
  if (limit.rlim_cur == RLIM_INFINITY) return true;
  const auto now = read_locked();
  return now && (now->unlimited || now->octets + size + reserve <= limit.rlim_cur);
}

}  // namespace natt::spa
