// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sockets that have a gate's programs, so that a later generation of programs reaches
// them. Their owners close them without a word: a socket is known by its cookie, since its
// number may be another's by then.
//
// A kernel that is short of room for a second program (net.core.optmem_max counts both while
// one replaces the other) gets one of a single instruction in between, which drops all.
// Resource class.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <natt/error.h>
#include <natt/log.h>
#include <natt/spa/kernel_gate.h>

#include "gate/gate_object.h"

namespace natt::spa::gate {

class GatedSockets {
 public:
  // A program has a handful; past it the oldest keeps the programs it has.
  static constexpr std::size_t kMost = 64;

  explicit GatedSockets(LogSink log) : log_(log) {}
  GatedSockets(const GatedSockets&) = delete;
  GatedSockets& operator=(const GatedSockets&) = delete;

  // A socket that has this program already is left alone. On failure a UDP socket has no filter: user space refuses
  // strangers as silently, and an old program's maps would go out of date. A listener of ours keeps the one it had.
  [[nodiscard]] Result<void> attach(int socket, GateSocket kind, const GateObject& object);
  [[nodiscard]] Result<void> detach(int socket);
  // Puts this object's programs on all of them that are still there. UDP sockets that do not take them go without;
  // listeners, which would show themselves, keep what they have for retry().
  void move_to(const GateObject& object);
  void retry(const GateObject& object);

  // Which sockets go without, or with an old program, and why. Empty: none.
  [[nodiscard]] std::string shortfall() const;

 private:
  struct Gated {
    int socket;
    std::uint64_t cookie;
    GateSocket kind;
    bool current;  // has the newest program
  };
  void put_again(Gated& gated, const GateObject& object);
  void note(GateSocket kind, std::string reason);

  LogSink log_;
  std::vector<Gated> sockets_;
  std::array<std::string, kGateSocketCount> refusals_;
};

}  // namespace natt::spa::gate
