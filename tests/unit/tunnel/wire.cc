// SPDX-License-Identifier: Apache-2.0
#include "unit/tunnel/wire.h"

#include <algorithm>

namespace natt::test {

bool Wire::run_for(Duration duration, const std::function<bool()>& done) {
  const Instant until = now_ + duration;
  for (;;) {
    flush();
    if (on_step) {
      on_step();
      flush();
    }
    if (done && done()) return true;
    const auto next = next_event();
    if (!next || *next > until) break;
    now_ = std::max(now_, *next);
    fire_timers();
    deliver_due();
  }
  now_ = until;
  flush();
  return done && done();
}

}  // namespace natt::test
