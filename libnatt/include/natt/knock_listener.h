// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who wants to hear of UDP knocks that a broker's verifiers granted, whichever carrier
// brought them (docs/WIRE.md section 1.4). Interface; one thread.

#include <natt/address.h>
#include <natt/spa/verifier.h>
#include <natt/time.h>

namespace natt {

class KnockListener {
 public:
  virtual ~KnockListener() = default;
  // Once per granted frame: a knock sends up to six (two carriers, three times), `grant.novelty` tells the first from
  // the rest and `grant.type` a knock from a close. `source` is where this datagram came from, which need not be the
  // same for both carriers. `grant` is valid during the call. May not verify, remove devices, or destroy the caller.
  virtual void on_knock(Instant now, const spa::Grant& grant, const SocketAddress& source) = 0;
};

}  // namespace natt
