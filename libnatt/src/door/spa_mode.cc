// SPDX-License-Identifier: Apache-2.0
#include <natt/spa_mode.h>

namespace natt {

std::string_view to_string(SpaMode mode) {
  switch (mode) {
    case SpaMode::kUdpTcp: return "udp-tcp";
    case SpaMode::kTcp: return "tcp";
  }
  return "unknown";
}

std::string_view to_string(TcpVisibility visibility) {
  switch (visibility) {
    case TcpVisibility::kSyn: return "syn";
    case TcpVisibility::kIp: return "ip";
    case TcpVisibility::kOpen: return "open";
  }
  return "unknown";
}

}  // namespace natt
