// SPDX-License-Identifier: Apache-2.0
#include <natt/tcp_door_plan.h>

namespace natt {

TcpDoorPlan plan_tcp_door(SpaMode mode, std::optional<TcpVisibility> wanted, bool has_gate) {
  const bool udp_tcp = mode == SpaMode::kUdpTcp;
  const TcpVisibility best = udp_tcp ? TcpVisibility::kIp : TcpVisibility::kSyn;
  TcpDoorPlan plan{
      .visibility = wanted.value_or(best), .wants_knock = udp_tcp, .opens_sources = false, .shortfall = {}};
  if (!has_gate && plan.visibility != TcpVisibility::kOpen) {
    plan.shortfall = "the TCP port answers every SYN (tcp_visibility open), because there is no kernel gate";
    plan.visibility = TcpVisibility::kOpen;
  }
  plan.opens_sources = plan.visibility == TcpVisibility::kIp;
  return plan;
}

}  // namespace natt
