// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_retransmission.h>

#include <algorithm>

namespace natt {

void StunRetransmission::start(Instant now) {
  sent_ = 1;
  arm(now);
}

// "a client SHOULD retransmit a request message starting with an interval of RTO, doubling after each
// retransmission ... if, after the last request, a duration equal to Rm times the RTO has passed without a
// response, the client SHOULD consider the transaction to have failed" (RFC 8489 section 6.2.1).
void StunRetransmission::arm(Instant now) {
  constexpr std::uint32_t kMaxDoublings = 16;
  const bool last = sent_ >= options_.rc;
  const Duration doubled = options_.rto * (std::int64_t{1} << std::min(sent_ - 1, kMaxDoublings));
  deadline_ = now + (last ? options_.rto * options_.rm : doubled);
}

StunRetransmission::Verdict StunRetransmission::handle_timeout(Instant now) {
  if (!deadline_ || now < *deadline_) return Verdict::kWait;
  if (sent_ >= options_.rc) {
    deadline_.reset();
    return Verdict::kFailed;
  }
  ++sent_;
  arm(now);
  return Verdict::kSendAgain;
}

}  // namespace natt
