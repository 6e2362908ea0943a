// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a client or gateway remembers of its sessions with a site, so that its own tools can
// say why brokers are silent when nobody else will: how far its clock is off, and which
// generation of its SPA key the site knows and has seen in use. Restoring an old copy of the
// device's file does not make it forget: this is kept in [state] dir. Value type, no I/O.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <natt/clock_offset.h>
#include <natt/error.h>

namespace natt {

struct DeviceMemory {
  ClockOffset clock;
  // Generations of this device's SPA key: the newest that a roster or a broker named, and the newest that a session
  // was opened with. 0: none yet.
  std::uint16_t newest_known = 0;
  std::uint16_t newest_used = 0;

  // A session was opened with the key of generation `own`; the broker's roster lists `known` as the newest (0: it
  // does not say).
  void note_session(std::uint16_t own, std::uint16_t known);
  void note_listed(std::uint16_t newest);
  // One sentence for the operator when a device that holds `own` as its newest generation should have a newer file.
  [[nodiscard]] std::optional<std::string> key_complaint(std::uint16_t own) const;

  // Two lines.
  [[nodiscard]] std::string serialize() const;
  // kMalformed leaves the object as it was.
  [[nodiscard]] Result<void> restore(std::string_view text);
};

}  // namespace natt
