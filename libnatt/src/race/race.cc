// SPDX-License-Identifier: Apache-2.0
#include <natt/race.h>

#include <fmt/format.h>

#include <algorithm>

namespace natt {
namespace {

constexpr std::array<ConnectionType, kConnectionTypes> kSteps = {ConnectionType::kDirect, ConnectionType::kNatTraversal,
                                                                 ConnectionType::kRelay};

}  // namespace

RaceCore::RaceCore(const Options& options) : options_(options) {}

bool RaceCore::enabled(ConnectionType step) const {
  switch (step) {
    case ConnectionType::kDirect:
      return options_.direct;
    case ConnectionType::kNatTraversal:
      return options_.nat_traversal;
    case ConnectionType::kRelay:
      return options_.relay;
  }
  return false;
}

void RaceCore::start(Instant now) {
  if (state_ != State::kIdle) return;
  transition_to(State::kRunning);
  gives_up_at_ = now + options_.timeout;
  at(ConnectionType::kDirect).starts_at = now;
  at(ConnectionType::kDirect).path_available = true;
  at(ConnectionType::kNatTraversal).starts_at = now + options_.natt_after;
  at(ConnectionType::kRelay).starts_at = now + options_.relay_after;
  for (const ConnectionType step : kSteps) {
    if (!enabled(step)) {
      at(step).state = StepState::kFailed;
      at(step).failure = AttemptFailure::kNotTried;
    } else if (step != ConnectionType::kDirect) {
      events_.emplace_back(Prepare{step});
    }
  }
  start_due_steps(now);
  lose_if_hopeless();
}

void RaceCore::path_available(ConnectionType step, Instant now) {
  if (state_ != State::kRunning) return;
  at(step).path_available = true;
  start_due_steps(now);
}

void RaceCore::path_unavailable(ConnectionType step, Instant /*now*/) {
  if (state_ != State::kRunning || at(step).state != StepState::kPreparing) return;
  at(step).path_available = false;
}

void RaceCore::attempt_connected(ConnectionType step, Instant /*now*/) {
  if (state_ != State::kRunning || at(step).state != StepState::kAttempting) return;
  transition_to(State::kFinished);
  cancel_running(step);
  std::optional<RelayReason> reason;
  if (step == ConnectionType::kRelay) reason = decide_relay_reason(facts_, at(ConnectionType::kNatTraversal).failure);
  options_.log(LogLevel::kInfo, fmt::format("natt.race.won type=\"{}\" reason={}", to_string(step),
                                            reason ? to_string(*reason) : "-"));
  events_.emplace_back(Won{step, reason});
}

void RaceCore::attempt_failed(ConnectionType step, AttemptFailure failure, Instant now) {
  if (state_ != State::kRunning || at(step).state == StepState::kFailed) return;
  at(step).state = StepState::kFailed;
  at(step).failure = failure;
  options_.log(LogLevel::kInfo,
               fmt::format("natt.race.step_failed type=\"{}\" reason={}", to_string(step), to_string(failure)));
  start_due_steps(now);
  lose_if_hopeless();
}

void RaceCore::cancel() {
  if (state_ != State::kRunning) return;
  transition_to(State::kFinished);
  cancel_running(std::nullopt);
}

void RaceCore::handle_timeout(Instant now) {
  if (state_ != State::kRunning) return;
  if (now >= gives_up_at_) return lose();
  start_due_steps(now);
}

bool RaceCore::predecessors_failed(ConnectionType step) const {
  return std::all_of(steps_.begin(), steps_.begin() + static_cast<std::ptrdiff_t>(step),
                     [](const Step& earlier_step) { return earlier_step.state == StepState::kFailed; });
}

bool RaceCore::is_due(ConnectionType step, Instant now) const {
  const Step& candidate = steps_[static_cast<std::size_t>(step)];
  if (candidate.state != StepState::kPreparing || !candidate.path_available) return false;
  return now >= candidate.starts_at || (options_.close_gaps && predecessors_failed(step));
}

void RaceCore::start_due_steps(Instant now) {
  for (const ConnectionType step : kSteps) {
    if (!is_due(step, now)) continue;
    at(step).state = StepState::kAttempting;
    options_.log(LogLevel::kInfo, fmt::format("natt.race.attempt type=\"{}\"", to_string(step)));
    events_.emplace_back(StartAttempt{step});
  }
}

void RaceCore::lose_if_hopeless() {
  if (predecessors_failed(static_cast<ConnectionType>(kConnectionTypes))) lose();
}

void RaceCore::lose() {
  transition_to(State::kFinished);
  cancel_running(std::nullopt);
  Lost lost{};
  for (const ConnectionType step : kSteps) {
    const Step& ended = at(step);
    const bool failed = ended.state == StepState::kFailed;
    lost.reasons[static_cast<std::size_t>(step)] = failed ? ended.failure : AttemptFailure::kTimeout;
  }
  options_.log(LogLevel::kWarning,
               fmt::format("natt.race.lost direct={} nat_traversal={} relay={}", to_string(lost.reasons[0]),
                           to_string(lost.reasons[1]), to_string(lost.reasons[2])));
  events_.emplace_back(lost);
}

void RaceCore::cancel_running(std::optional<ConnectionType> except) {
  for (const ConnectionType step : kSteps) {
    if (step != except && at(step).state != StepState::kFailed) events_.emplace_back(CancelAttempt{step});
  }
}

std::optional<Instant> RaceCore::next_deadline() const {
  if (state_ != State::kRunning) return std::nullopt;
  std::optional<Instant> next = gives_up_at_;
  for (const Step& step : steps_) {
    // A step without a path waits for the path, not for the clock.
    if (step.state == StepState::kPreparing && step.path_available) next = earlier(next, step.starts_at);
  }
  return next;
}

std::optional<RaceCore::Event> RaceCore::poll_event() {
  if (events_.empty()) return std::nullopt;
  const Event event = events_.front();
  events_.pop_front();
  return event;
}

void RaceCore::transition_to(State next) { state_ = next; }

}  // namespace natt
