// SPDX-License-Identifier: Apache-2.0
// Keys on a host that does not let the program lock memory. Each case runs in a process of
// its own, which gives up what it needs not to be allowed.
#include <natt/spa/locked_memory.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <catch2/catch_test_macros.hpp>

#include "spa_site.h"

using namespace natt;

namespace {

// The address sanitizer puts an mlock in the place of the system's that does nothing and always succeeds: nothing can
// refuse there, and only the rest of each case counts.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kLockingIsReal = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kLockingIsReal = false;
#else
constexpr bool kLockingIsReal = true;
#endif
#else
constexpr bool kLockingIsReal = true;
#endif

// 0 when `check` says so. Root may lock what it likes (CAP_IPC_LOCK), so root becomes somebody else first.
int in_process_without_locking(bool (*check)()) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_MEMLOCK, &none) != 0) ::_exit(3);
    ::_exit(check() ? 0 : 1);
  }
  int status = -1;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 4;
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("locked memory: where locking is refused the memory works, zeroed, and says so", "[spa][locked]") {
  CHECK(in_process_without_locking([] {
          spa::LockedMemory memory(64);
          const ByteView bytes = std::as_const(memory).bytes();
          if (memory.locked() == kLockingIsReal ||
              !std::all_of(bytes.begin(), bytes.end(), [](auto octet) { return octet == 0; })) {
            return false;
          }
          std::fill(memory.bytes().begin(), memory.bytes().end(), std::uint8_t{7});
          return memory.bytes()[63] == 7;
        }) == 0);
}

TEST_CASE("locked memory: a verifier whose keys may reach swap reports it and serves all the same", "[spa][locked]") {
  CHECK(in_process_without_locking([] {
          test::OneClientSite site;
          return site.broker_verifier->stats().keys_locked != kLockingIsReal &&
                 site.alice_keys.locked() != kLockingIsReal &&
                 site.knock(*site.broker_verifier, site.fresh_knock()).has_value();
        }) == 0);
}
