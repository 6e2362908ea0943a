// SPDX-License-Identifier: Apache-2.0
#pragma once

// The kernel gate of a program: opened when it is wanted and the host has it, with one log
// line where not, and what health says about it.

#include <memory>
#include <string>
#include <vector>

#include <natt/log.h>
#include <natt/roster.h>
#include <natt/spa/kernel_gate.h>

#include "apps/control/status.h"

namespace natt::program {

struct GateState {
  std::unique_ptr<spa::KernelGate> gate;  // null: user space does all
  std::string off_reason;                 // one sentence; empty when on
  bool wanted = true;                     // `[spa] kernel_gate`
};

// For sockets of these kinds, sized for the rosters.
[[nodiscard]] GateState open_gate(bool wanted, std::vector<spa::GateSocket> sockets,
                                  const std::vector<const SignedRoster*>& rosters, const LogSink& log);
void add_gate_health(control::Health& health, const GateState& state);

}  // namespace natt::program
