// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a broker lets authorised peers reach its TCP port, as its operator configures it
// (docs/WIRE.md section 1.6). A client always sends what either mode needs.

#include <cstdint>
#include <string_view>

namespace natt {

// `[spa] mode`.
enum class SpaMode : std::uint8_t {
  kUdpTcp,  // a TCP connection counts only after a UDP knock of the same device from the same address
  kTcp,     // nothing depends on UDP: for networks where UDP and TCP leave with different addresses
};

// `[spa] tcp_visibility`: what the SYN of somebody without authorisation meets.
enum class TcpVisibility : std::uint8_t {
  kSyn,   // silence, unless it carries a valid frame itself
  kIp,    // silence, unless a UDP knock opened its source address
  kOpen,  // a listener, which says nothing
};

[[nodiscard]] std::string_view to_string(SpaMode mode);              // "udp-tcp", "tcp"
[[nodiscard]] std::string_view to_string(TcpVisibility visibility);  // "syn", "ip", "open"

}  // namespace natt
