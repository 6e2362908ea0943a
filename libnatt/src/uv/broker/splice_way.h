// SPDX-License-Identifier: Apache-2.0
#pragma once

// One way of a spliced session: octets of one socket to another without passing through this
// process, and where the kernel refuses that, or there is no descriptor for a pipe, through a
// bounded buffer. Holds octets only while the receiver does not take them; then nothing is
// read from the sender, whose window fills up.
//
// Resource type, one thread; the sockets and the pipes outlive it.

#include <cstddef>
#include <optional>

#include <natt/bytes.h>

#include "src/uv/broker/splice_pipes.h"

namespace natt::uv {

class SpliceWay {
 public:
  // A pipe's default capacity; also what the buffer holds at most.
  static constexpr std::size_t kChunk = 64 * 1024;

  struct Step {
    std::size_t octets = 0;
    int error = 0;  // of either socket: the session is over
  };

  // `first` goes before what is read. Both sockets do not block.
  SpliceWay(int from, int to, SplicePipes& pipes, ByteBuffer first);
  ~SpliceWay();
  SpliceWay(const SpliceWay&) = delete;
  SpliceWay& operator=(const SpliceWay&) = delete;

  // Reads at most `most` octets (1 to kChunk). Only while nothing is held. 0 octets: there is nothing now, or the
  // sender has finished.
  [[nodiscard]] Step pull(std::size_t most);
  // Writes what is held; the end of the stream as well, once everything is out.
  [[nodiscard]] Step push();
  // Nothing moves and nothing is held: the pipe goes to who needs it.
  void rest();

  [[nodiscard]] bool holds() const { return in_pipe_ > 0 || !buffer_.empty(); }
  [[nodiscard]] bool source_ended() const { return source_ended_; }
  // Everything is out, the end included.
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  [[nodiscard]] Step pull_spliced(std::size_t most);
  [[nodiscard]] Step pull_copied(std::size_t most);
  [[nodiscard]] Step push_buffer();
  [[nodiscard]] Step push_pipe();
  [[nodiscard]] Step read_result(ssize_t got);

  int from_;
  int to_;
  SplicePipes& pipes_;
  std::optional<SplicePipes::Pipe> pipe_;
  std::size_t in_pipe_ = 0;
  ByteBuffer buffer_;
  std::size_t buffer_sent_ = 0;
  bool copies_ = false;  // the kernel cannot splice these
  bool source_ended_ = false;
  bool ended_ = false;
};

}  // namespace natt::uv
