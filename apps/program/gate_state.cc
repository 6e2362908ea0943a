// SPDX-License-Identifier: Apache-2.0
#include "apps/program/gate_state.h"

#include <algorithm>
#include <utility>

namespace natt::program {
namespace {

// A roster's entry has about 150 octets a device, 38 of them for a key (docs/WIRE.md section 2.2). A few more keys than
// devices at first: lookups take longer in a table with much room, and the gate finds more when keys are renewed.
constexpr std::size_t kOctetsPerKey = 128;
constexpr std::size_t kLeastKeys = 4096;
// A gateway's: 500 checks a second, and consent every 5 s for each of 16,384 sessions, all answered within 15 s
// (natt/gate_expectations.h). Nobody else's gate takes room for them.
constexpr std::size_t kAwaitedAnswers = 65'536;

std::size_t keys_of(const std::vector<const SignedRoster*>& rosters) {
  std::size_t octets = 0;
  for (const SignedRoster* roster : rosters) octets += roster->full.size();
  return std::max(kLeastKeys, octets / kOctetsPerKey);
}

GateState off(bool wanted, std::string reason, LogLevel level, const LogSink& log) {
  log(level, "natt.spa.kernel_gate state=off reason=\"" + reason + "\"");
  return {.gate = nullptr, .off_reason = std::move(reason), .wanted = wanted};
}

}  // namespace

GateState open_gate(bool wanted, std::vector<spa::GateSocket> sockets,
                    const std::vector<const SignedRoster*>& rosters, const LogSink& log) {
  if (!wanted) return off(false, "[spa] kernel_gate is false", LogLevel::kInfo, log);
  if (rosters.size() > spa::KernelGate::kMaxVerifiers) {
    return off(true, "the kernel gate serves 16 sites, this program has more", LogLevel::kWarning, log);
  }
  const std::size_t keys = keys_of(rosters);
  auto gate = spa::open_kernel_gate(
      {.sockets = std::move(sockets), .max_keys = keys, .max_awaited = kAwaitedAnswers,
       .grow_in_background = true, .log = log});
  if (!gate) return off(true, gate.error().message, LogLevel::kWarning, log);
  log(LogLevel::kInfo, "natt.spa.kernel_gate state=on keys=" + std::to_string(keys));
  return {.gate = std::move(*gate), .off_reason = {}, .wanted = true};
}

void add_gate_health(control::Health& health, const GateState& state) {
  health.check("kernel_gate_as_wanted", state.gate != nullptr || !state.wanted);
  if (!state.gate) {
    health.gate = control::KernelGate{.active = false, .reason = state.off_reason, .packets = {}};
    if (state.wanted) {
      // What that means for TCP is a warning of its own (TcpDoorPlan::shortfall).
      health.add(control::HealthStatus::kHealthy, "kernel gate: off, packets of strangers reach this program, which "
                                                  "refuses them: " + state.off_reason);
    }
    return;
  }
  const spa::KernelGateStats stats = state.gate->stats();
  health.gate = control::KernelGate{.active = true, .reason = {}, .packets = {}};
  for (std::size_t i = 0; i < stats.packets.size(); ++i) {
    health.gate->packets.emplace_back(to_string(static_cast<spa::GateVerdict>(i)), stats.packets[i]);
  }
  if (!health.check("kernel_gate_on_sockets", stats.shortfall.empty())) {
    health.add(control::HealthStatus::kWarning,
               "kernel gate: not on every socket, so packets of strangers reach this program, which refuses them, or "
               "devices that are new stay out over TCP: " + stats.shortfall);
  }
  if (!health.check("kernel_gate_has_room", stats.complete)) {
    health.add(control::HealthStatus::kWarning,
               "kernel gate: more devices than fit in it, so knocks of strangers reach this program, and TCP stays closed "
               "to devices that are not in it: restart this program unless it grows within a minute");
  }
}

}  // namespace natt::program
