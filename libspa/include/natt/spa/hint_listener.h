// SPDX-License-Identifier: Apache-2.0
#pragma once

// Follows the hints a verifier knows, for a gate that drops strangers earlier (in the
// kernel, on a network card). Called while devices are added or removed and while a
// slot is prepared, never on the packet path. Must not call back into the verifier.

#include <array>
#include <cstdint>
#include <span>

#include <natt/spa/keys.h>

namespace natt::spa {

class HintListener {
 public:
  virtual ~HintListener() = default;
  virtual void on_hint_added(Slot slot, const std::array<std::uint8_t, 8>& hint,
                             std::span<const std::uint8_t, 16> prefilter_key) noexcept = 0;
  virtual void on_hint_removed(Slot slot, const std::array<std::uint8_t, 8>& hint) noexcept = 0;
  // Every hint of the slot is gone.
  virtual void on_slot_retired(Slot slot) noexcept = 0;
};

}  // namespace natt::spa
