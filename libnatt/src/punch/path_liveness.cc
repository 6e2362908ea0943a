// SPDX-License-Identifier: Apache-2.0
#include "src/punch/path_liveness.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace natt {
namespace {

Duration scaled(Duration duration, double factor) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, Duration::period>(duration) * factor);
}

constexpr double kLossWeight = 1.0 / 8;
constexpr int kRttWeight = 8;  // RFC 6298 section 2.3: alpha = 1/8

}  // namespace

bool PathLiveness::answered(Instant now, Duration rtt, Random& random) {
  rtt_ = rtt;
  smoothed_rtt_ = smoothed_rtt_ == Duration::zero() ? rtt : smoothed_rtt_ + (rtt - smoothed_rtt_) / kRttWeight;
  count_check(0);
  consent_until_ = now + options_.consent_timeout;
  next_check_ = now + regular_pause(random);
  unanswered_ = 0;
  return heard(now);
}

bool PathLiveness::heard(Instant now) {
  last_heard_ = now;
  waiting_since_.reset();
  return std::exchange(silent_, false);
}

void PathLiveness::use(Instant now, Random& random) {
  in_use_ = true;
  next_check_ = std::min(next_check_, now + regular_pause(random));
}

void PathLiveness::release(Instant now, Random& random) {
  in_use_ = false;
  silent_ = false;
  waiting_since_.reset();
  next_check_ = now + regular_pause(random);
}

void PathLiveness::sent(Instant now) {
  if (in_use_ && !waiting_since_) waiting_since_ = now;
}

void PathLiveness::check_sent(Instant now, Random& random) {
  if (unanswered_ > 0) count_check(1);  // the one before
  if (in_use_ && !waiting_since_) waiting_since_ = now;
  ++unanswered_;
  last_check_ = now;
  next_check_ = now + std::min(retry_pause(), regular_pause(random));
}

Instant PathLiveness::next_check() const {
  if (!waiting_since_ || last_check_ >= *waiting_since_) return next_check_;
  const Duration patience = std::max(options_.silent_probe_after, scaled(smoothed_rtt_, 1.5));
  return std::min(next_check_, *waiting_since_ + patience);
}

PathLiveness::Change PathLiveness::handle_timeout(Instant now) {
  if (now >= consent_until_) return Change::kLost;
  if (!in_use_ || silent_ || !waiting_since_ || now < *waiting_since_ + silent_after()) return Change::kNone;
  silent_ = true;
  return Change::kSilent;
}

Instant PathLiveness::next_deadline() const {
  Instant next = std::min(next_check(), consent_until_);
  if (in_use_ && !silent_ && waiting_since_) next = std::min(next, *waiting_since_ + silent_after());
  return next;
}

// RFC 7675 section 5.1: "randomly set ... between 0.8 and 1.2 times the basic period".
Duration PathLiveness::regular_pause(Random& random) const {
  const Duration basic = in_use_ ? options_.consent_interval : options_.standby_interval;
  const auto spread = static_cast<std::uint64_t>((basic * 2 / 5).count());
  return basic * 4 / 5 + Duration(static_cast<Duration::rep>(random.uniform(spread + 1)));
}

Duration PathLiveness::retry_pause() const {
  constexpr std::uint32_t kMaxSteps = 16;
  const Duration base = in_use_ ? std::max(options_.silent_probe_interval, scaled(smoothed_rtt_, 1.5))
                                : std::max<Duration>(std::chrono::seconds(1), 2 * smoothed_rtt_);
  return scaled(base, std::pow(options_.backoff, std::min(unanswered_ - 1, kMaxSteps)));
}

Duration PathLiveness::silent_after() const { return std::max(options_.silent_after, 3 * smoothed_rtt_); }

void PathLiveness::count_check(double lost) { loss_ += (lost - loss_) * kLossWeight; }

}  // namespace natt
