// SPDX-License-Identifier: Apache-2.0
#include "src/http/stream.h"

#include <utility>

namespace natt::tunnel {

// A stream that starts as kRequested is one this end opened.
Stream::Stream(StreamId id, Protocol protocol, State state, ChunkPool& pool)
    : in(pool), out(pool), id_(id), protocol_(protocol), state_(state), visible_(state == State::kRequested) {}

void Stream::arrive(const StreamTarget& target) {
  protocol_ = target.protocol;
  target_ = target.authority;
  state_ = State::kRequested;
  visible_ = announced_ = true;
}

void Stream::open() { state_ = State::kOpen; }

void Stream::answer(int status, std::string reason) {
  status_ = status;
  reason_ = std::move(reason);
  announced_ = true;
  state_ = status >= 200 && status < 300 ? State::kOpen : State::kRefused;
}

void Stream::refuse() { state_ = State::kRefused; }

void Stream::reset_by_peer(std::uint64_t code) {
  if (state_ == State::kOver) return;
  if (announced_ && status_ == 0) visible_ = false;  // a request taken back before anybody heard of it
  // After a refusal the reset is the usual end and no news.
  if (state_ != State::kRefused) reset_code_ = code;
  reset_locally();
}

void Stream::reset_locally() {
  state_ = State::kOver;
  readable_ = writable_ = false;
  received_capsules_.clear();
  in.clear();  // `out` stays until QUIC lets go of it
}

bool Stream::queue_capsule(ControlCapsule capsule) {
  if (received_capsules_.size() == kMaxCapsules) return false;
  received_capsules_.push_back({id_, std::move(capsule)});
  return true;
}

bool Stream::may_write(bool client) const {
  return !fin_wanted_ && (state_ == State::kOpen || (client && state_ == State::kRequested));
}

std::optional<StreamEvent> Stream::next_event() {
  if (!visible_) return std::nullopt;
  if (announced_) {
    announced_ = false;
    if (status_ != 0) return ResponseArrived{id_, status_, std::move(reason_)};
    return RequestArrived{id_, protocol_, std::move(target_)};
  }
  if (!received_capsules_.empty()) {
    std::optional<StreamEvent> event(std::in_place, std::move(received_capsules_.front()));
    received_capsules_.erase(received_capsules_.begin());
    return event;
  }
  if (std::exchange(readable_, false)) return Readable{id_};
  if (std::exchange(writable_, false)) return Writable{id_};
  return next_ending();
}

std::optional<StreamEvent> Stream::next_ending() {
  const bool all_read = in.empty();
  if (fin_received_ && all_read && state_ != State::kOver && state_ != State::kRefused &&
      !std::exchange(told_finished_, true)) {
    return Finished{id_};
  }
  if (const auto code = std::exchange(reset_code_, std::nullopt)) return StreamReset{id_, *code};
  if (closed_ && all_read && !std::exchange(told_closed_, true)) return StreamClosed{id_};
  return std::nullopt;
}

}  // namespace natt::tunnel
