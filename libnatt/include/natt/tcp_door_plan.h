// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a broker does with TCP, given what its operator wants and what the host can do:
// mode and visibility are wishes, the kernel gate may be missing, and a visibility that the
// mode contradicts would lock everybody out. Pure function.

#include <optional>
#include <string>

#include <natt/spa_mode.h>

namespace natt {

struct TcpDoorPlan {
  // What a stranger's SYN meets from now on. Anything but kOpen needs the gate.
  TcpVisibility visibility = TcpVisibility::kOpen;
  // A connection counts only with a UDP grant of its device and address (AddressGrants).
  bool wants_knock = true;
  // UDP knocks open their source address in the gate.
  bool opens_sources = false;
  // For health and log: what was wanted and is not so, and what to do. Empty: as wanted.
  std::string shortfall;
  friend bool operator==(const TcpDoorPlan&, const TcpDoorPlan&) = default;
};

// `wanted` absent: the strongest that suits the mode, which is kSyn for tcp and kIp for udp-tcp (a plain SYN after the
// knock gets through boxes that drop SYNs with data).
[[nodiscard]] TcpDoorPlan plan_tcp_door(SpaMode mode, std::optional<TcpVisibility> wanted, bool has_gate);

}  // namespace natt
