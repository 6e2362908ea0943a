// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sockets that have a gate's programs, so that a later generation of programs reaches
// them. Their owners close them without a word: a socket is known by its cookie, since its
// number may be another's by then. Resource class.

#include <cstdint>
#include <vector>

#include <natt/error.h>
#include <natt/spa/kernel_gate.h>

#include "gate/gate_object.h"

namespace natt::spa::gate {

class GatedSockets {
 public:
  // A program has a handful; past it the oldest keeps the programs it has.
  static constexpr std::size_t kMost = 64;

  GatedSockets() = default;
  GatedSockets(const GatedSockets&) = delete;
  GatedSockets& operator=(const GatedSockets&) = delete;

  [[nodiscard]] Result<void> attach(int socket, GateSocket kind, const GateObject& object);
  // Puts this object's programs on all of them that are still there.
  void move_to(const GateObject& object);

 private:
  struct Gated {
    int socket;
    std::uint64_t cookie;
    GateSocket kind;
  };
  std::vector<Gated> sockets_;
};

}  // namespace natt::spa::gate
