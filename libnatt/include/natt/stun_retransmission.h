// SPDX-License-Identifier: Apache-2.0
#pragma once

// When a STUN request over UDP is sent again and when it has failed (RFC 8489
// section 6.2.1): after RTO, 2 RTO, 4 RTO ... up to Rc transmissions, then Rm * RTO of
// silence. Value type; says nothing about what is sent.

#include <cstdint>
#include <optional>

#include <natt/time.h>

namespace natt {

struct StunRetransmissionOptions {
  Duration rto = std::chrono::milliseconds(500);  // "SHOULD be greater than or equal to 500 ms"
  std::uint32_t rc = 7;                           // "Rc SHOULD be configurable and SHOULD have a default of 7"
  std::uint32_t rm = 16;                          // "Rm SHOULD be configurable and SHOULD have a default of 16"
};

class StunRetransmission {
 public:
  enum class Verdict : std::uint8_t { kWait, kSendAgain, kFailed };

  explicit StunRetransmission(const StunRetransmissionOptions& options) : options_(options) {}

  // The first transmission happens at `now`.
  void start(Instant now);
  void stop() { deadline_.reset(); }
  [[nodiscard]] bool running() const { return deadline_.has_value(); }
  [[nodiscard]] std::optional<Instant> deadline() const { return deadline_; }
  // kSendAgain counts the transmission as made; kFailed stops.
  [[nodiscard]] Verdict handle_timeout(Instant now);

 private:
  void arm(Instant now);

  StunRetransmissionOptions options_;
  std::uint32_t sent_ = 0;
  std::optional<Instant> deadline_;
};

}  // namespace natt
