// SPDX-License-Identifier: Apache-2.0
#pragma once

// Where a verifier writes every nonce before it grants, so that a restart does not
// forget them. The verifier calls it on the packet path: an implementation neither
// blocks nor allocates (a store into mapped memory). After a restart its owner gives
// the records back through Verifier::restore.

#include <array>
#include <cstdint>

#include <natt/spa/keys.h>

namespace natt::spa {

struct ReplayRecord {
  Slot slot;
  // frame[0..19]: the nonce and the masked hint, which stands for the device's key in that slot.
  std::array<std::uint8_t, 20> opening{};
};

// First and last included.
struct SlotRange {
  Slot first;
  Slot last;
};

class ReplayJournal {
 public:
  virtual ~ReplayJournal() = default;
  // Before the grant. False refuses the frame: a grant that could be replayed is worse than none. Must not call
  // back into the verifier.
  [[nodiscard]] virtual bool append(const ReplayRecord& record) noexcept = 0;
};

}  // namespace natt::spa
