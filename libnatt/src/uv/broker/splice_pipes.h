// SPDX-License-Identifier: Apache-2.0
#pragma once

// Pipes for splicing (splice(2) moves between a socket and a pipe only). A way of a session
// takes one while it has octets under way, so that idle sessions have none.
//
// Resource type, one thread.

#include <optional>
#include <vector>

#include <natt/log.h>

#include "src/uv/descriptor.h"

namespace natt::uv {

class SplicePipes {
 public:
  struct Pipe {
    Descriptor read_end;
    Descriptor write_end;
  };
  // Kept for the next ones; more are closed when they come back. Sessions that move at the same moment, not all.
  static constexpr std::size_t kMaxIdle = 64;

  explicit SplicePipes(LogSink log) : log_(log) {}
  SplicePipes(const SplicePipes&) = delete;
  SplicePipes& operator=(const SplicePipes&) = delete;

  // Absent: the process has no descriptors left; logged the first time after it had.
  [[nodiscard]] std::optional<Pipe> take();
  // Empty ones only.
  void give_back(Pipe pipe);
  [[nodiscard]] std::size_t idle() const { return idle_.size(); }

 private:
  LogSink log_;
  std::vector<Pipe> idle_;
  bool told_ = false;
};

}  // namespace natt::uv
