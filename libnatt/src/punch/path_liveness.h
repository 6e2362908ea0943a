// SPDX-License-Identifier: Apache-2.0
#pragma once

// Whether the peer still answers on a validated path (RFC 7675), how fast, and when
// to ask again. Value type; knows neither addresses nor messages.
//
// Two clocks run apart: `last_heard` moves with anything authentic from the peer and
// decides whether the path is silent (about a second); the consent moves only with an
// answered check and decides whether the path is lost (30 s).

#include <cstdint>
#include <optional>

#include <natt/random.h>
#include <natt/time.h>

namespace natt {

class PathLiveness {
 public:
  struct Options {
    Duration consent_interval;
    Duration consent_timeout;
    Duration standby_interval;
    Duration silent_probe_after;
    Duration silent_probe_interval;
    Duration silent_after;
    double backoff;
  };
  enum class Change : std::uint8_t { kNone, kSilent, kLost };

  explicit PathLiveness(const Options& options) : options_(options) {}

  // An answer to a check of ours; the first one starts everything. True when the path was silent.
  bool answered(Instant now, Duration rtt, Random& random);
  // Anything else authentic from the peer. True when the path was silent.
  bool heard(Instant now);
  void use(Instant now, Random& random);
  void release(Instant now, Random& random);
  // Tunnel packets left on the path.
  void sent(Instant now);
  void probe_now(Instant now) { next_check_ = now; }
  void check_sent(Instant now, Random& random);
  void defer_check(Instant until) { next_check_ = until; }
  [[nodiscard]] Change handle_timeout(Instant now);

  [[nodiscard]] Instant next_check() const;
  [[nodiscard]] Instant next_deadline() const;
  // A check was sent and nothing was heard since: further ones are probes of an address that may be gone.
  [[nodiscard]] bool unanswered() const { return unanswered_ > 0; }

  [[nodiscard]] Instant last_heard() const { return last_heard_; }
  [[nodiscard]] Duration rtt() const { return rtt_; }
  [[nodiscard]] Duration smoothed_rtt() const { return smoothed_rtt_; }
  [[nodiscard]] double loss() const { return loss_; }
  [[nodiscard]] bool in_use() const { return in_use_; }
  [[nodiscard]] bool silent() const { return silent_; }

 private:
  [[nodiscard]] Duration regular_pause(Random& random) const;
  [[nodiscard]] Duration retry_pause() const;
  [[nodiscard]] Duration silent_after() const;
  void count_check(double lost);

  Options options_;
  Instant last_heard_{};
  Instant consent_until_{};
  Instant next_check_{};
  std::optional<Instant> waiting_since_;  // something of ours waits for an answer
  Instant last_check_{};
  std::uint32_t unanswered_ = 0;
  Duration rtt_{};
  Duration smoothed_rtt_{};
  double loss_ = 0;
  bool in_use_ = false;
  bool silent_ = false;
};

}  // namespace natt
