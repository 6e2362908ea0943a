// SPDX-License-Identifier: Apache-2.0
#include <natt/connect_schedule.h>

#include <algorithm>

namespace natt {

void ConnectSchedule::start(Instant now) {
  state_ = State::kRunning;
  started_ = now;
  stages_.fill(Stage::kWaiting);
  refused_.fill(false);
  handle_timeout(now);
}

void ConnectSchedule::stop() { state_ = State::kIdle; }

void ConnectSchedule::handle_failed(std::size_t number, Failure failure) {
  if (state_ != State::kRunning || number >= kSteps.size()) return;
  stages_[number] = Stage::kOver;
  if (failure == Failure::kRefused) refused_[static_cast<std::size_t>(kSteps[number].kind)] = true;
  look_for_end();
}

void ConnectSchedule::look_for_end() {
  const bool refused = refused_[0] && refused_[1];
  const bool over = std::all_of(stages_.begin(), stages_.end(), [](Stage stage) { return stage == Stage::kOver; });
  if (refused || over) state_ = State::kLost;
}

void ConnectSchedule::handle_timeout(Instant now) {
  if (state_ != State::kRunning) return;
  for (std::size_t i = 0; i < kSteps.size(); ++i) {
    const Instant begin = started_ + kSteps[i].at;
    if (stages_[i] == Stage::kWaiting && begin <= now) stages_[i] = Stage::kDue;
    if (stages_[i] == Stage::kOpen && begin + kAttemptTime <= now) stages_[i] = Stage::kAbandoned;
  }
}

std::optional<Instant> ConnectSchedule::next_deadline() const {
  if (state_ != State::kRunning) return std::nullopt;
  std::optional<Instant> deadline;
  for (std::size_t i = 0; i < kSteps.size(); ++i) {
    const Instant begin = started_ + kSteps[i].at;
    if (stages_[i] == Stage::kWaiting) deadline = earlier(deadline, begin);
    if (stages_[i] == Stage::kOpen) deadline = earlier(deadline, begin + kAttemptTime);
  }
  return deadline;
}

std::optional<ConnectSchedule::Attempt> ConnectSchedule::poll_attempt() {
  if (state_ != State::kRunning) return std::nullopt;
  const auto due = std::find(stages_.begin(), stages_.end(), Stage::kDue);
  if (due == stages_.end()) return std::nullopt;
  *due = Stage::kOpen;
  const auto number = static_cast<std::size_t>(due - stages_.begin());
  return Attempt{number, kSteps[number].kind};
}

std::optional<std::size_t> ConnectSchedule::poll_abandoned() {
  if (state_ != State::kRunning) return std::nullopt;
  const auto ended = std::find(stages_.begin(), stages_.end(), Stage::kAbandoned);
  if (ended == stages_.end()) return std::nullopt;
  *ended = Stage::kOver;
  look_for_end();
  return static_cast<std::size_t>(ended - stages_.begin());
}

}  // namespace natt
