// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/splice_pipes.h"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace natt::uv {

std::optional<SplicePipes::Pipe> SplicePipes::take() {
  if (!idle_.empty()) {
    Pipe pipe = std::move(idle_.back());
    idle_.pop_back();
    return pipe;
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) {
    if (!std::exchange(told_, true)) {
      log_(LogLevel::kWarning, "natt.relay.no_pipe reason=\"pipe: " + std::string(std::strerror(errno)) +
                                   "; relayed TCP is copied instead of spliced: raise the limit of open files\"");
    }
    return std::nullopt;
  }
  told_ = false;
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

void SplicePipes::give_back(Pipe pipe) {
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(pipe));
}

}  // namespace natt::uv
