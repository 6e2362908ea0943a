// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/splice_way.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace natt::uv {
namespace {

bool is_wait(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

// The socket is of a kind, or has something in front of it, that does not splice (splice(2), EINVAL).
bool is_refusal(int error) { return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EPERM; }

}  // namespace

SpliceWay::SpliceWay(int from, int to, SplicePipes& pipes, ByteBuffer first)
    : from_(from), to_(to), pipes_(pipes), buffer_(std::move(first)) {}

SpliceWay::~SpliceWay() { rest(); }

void SpliceWay::rest() {
  if (buffer_.empty()) buffer_ = {};
  if (!pipe_) return;
  // One with octets in it is closed instead.
  if (in_pipe_ == 0) pipes_.give_back(std::move(*pipe_));
  pipe_.reset();
}

SpliceWay::Step SpliceWay::pull(std::size_t most) {
  if (!copies_ && !pipe_) pipe_ = pipes_.take();
  return copies_ || !pipe_ ? pull_copied(most) : pull_spliced(most);
}

SpliceWay::Step SpliceWay::read_result(ssize_t got) {
  if (got > 0) return {.octets = static_cast<std::size_t>(got)};
  if (got == 0) source_ended_ = true;
  return {.error = got < 0 && !is_wait(errno) ? errno : 0};
}

SpliceWay::Step SpliceWay::pull_spliced(std::size_t most) {
  const ssize_t got =
      ::splice(from_, nullptr, pipe_->write_end.get(), nullptr, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (got < 0 && is_refusal(errno)) {
    copies_ = true;
    return pull_copied(most);
  }
  const Step step = read_result(got);
  in_pipe_ += step.octets;
  return step;
}

SpliceWay::Step SpliceWay::pull_copied(std::size_t most) {
  std::array<std::uint8_t, kChunk> octets;
  const ssize_t got = ::recv(from_, octets.data(), std::min(most, octets.size()), MSG_DONTWAIT);
  const Step step = read_result(got);
  buffer_.assign(octets.begin(), octets.begin() + static_cast<std::ptrdiff_t>(step.octets));
  buffer_sent_ = 0;
  return step;
}

SpliceWay::Step SpliceWay::push() {
  Step step = push_buffer();
  if (step.error == 0 && buffer_.empty()) {
    const Step more = push_pipe();
    step = {.octets = step.octets + more.octets, .error = more.error};
  }
  if (step.error == 0 && source_ended_ && !holds() && !ended_) {
    ended_ = true;
    // ENOTCONN: the receiver has gone meanwhile, which its own reading will show.
    static_cast<void>(::shutdown(to_, SHUT_WR));
  }
  return step;
}

SpliceWay::Step SpliceWay::push_buffer() {
  Step step;
  while (!buffer_.empty()) {
    const ByteView left = ByteView(buffer_).subspan(buffer_sent_);
    const ssize_t sent = ::send(to_, left.data(), left.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (!is_wait(errno)) step.error = errno;
      break;
    }
    step.octets += static_cast<std::size_t>(sent);
    buffer_sent_ += static_cast<std::size_t>(sent);
    if (buffer_sent_ == buffer_.size()) {
      buffer_.clear();
      buffer_sent_ = 0;
    }
  }
  return step;
}

SpliceWay::Step SpliceWay::push_pipe() {
  Step step;
  while (in_pipe_ > 0) {
    const ssize_t sent =
        ::splice(pipe_->read_end.get(), nullptr, to_, nullptr, in_pipe_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (sent <= 0) {
      // 0: the pipe would have to be empty, and it is not.
      if (sent == 0 || !is_wait(errno)) step.error = sent == 0 ? EIO : errno;
      break;
    }
    step.octets += static_cast<std::size_t>(sent);
    in_pipe_ -= static_cast<std::size_t>(sent);
  }
  return step;
}

}  // namespace natt::uv
