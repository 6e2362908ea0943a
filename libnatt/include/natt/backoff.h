// SPDX-License-Identifier: Apache-2.0
#pragma once

// How long to wait before the next attempt: exponential with full jitter, so that the
// devices of a restarted broker do not come back in step. Value semantics except for the
// Random it borrows; one thread.

#include <chrono>
#include <cstdint>

#include <natt/random.h>
#include <natt/time.h>

namespace natt {

struct BackoffOptions {
  // The first retry comes within half a second (a restarted broker is back in less), later ones double up to
  // half a minute: an outage of an hour costs about 150 attempts per device.
  Duration initial = std::chrono::milliseconds(500);
  Duration maximum = std::chrono::seconds(30);
};

class Backoff {
 public:
  explicit Backoff(Random& random, BackoffOptions options = {}) : random_(random), options_(options) {}

  // The delay before the next attempt: uniform in [step/2, step], where step doubles with every call.
  [[nodiscard]] Duration next_delay();
  // After a success that lasted.
  void reset() { failures_ = 0; }
  [[nodiscard]] std::uint32_t failures() const { return failures_; }

 private:
  Random& random_;
  BackoffOptions options_;
  std::uint32_t failures_ = 0;
};

}  // namespace natt
