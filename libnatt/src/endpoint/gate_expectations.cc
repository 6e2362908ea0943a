// SPDX-License-Identifier: Apache-2.0
#include <natt/gate_expectations.h>

#include <natt/demux.h>

namespace natt {
namespace {

constexpr std::size_t kStunIdAt = 8;
constexpr std::size_t kStunIdSize = 12;

// RFC 8489 section 5: both bits of the class are 0.
bool is_request(ByteView stun) {
  return StunMessage::is_stun(stun) && (load_be<std::uint16_t>(stun.data()) & 0x0110) == 0;
}

}  // namespace

void expect_answers_to(spa::KernelGate& gate, const Transmit& transmit) {
  const ByteView bytes = transmit.bytes;
  switch (classify_datagram(bytes)) {
    case DatagramKind::kStun:
      if (is_request(bytes)) gate.expect_answer(bytes.subspan(kStunIdAt).first<kStunIdSize>(), kAnswerLifetime);
      return;
    case DatagramKind::kRelay: gate.expect_relay(transmit.to, kRelayLifetime); return;
    case DatagramKind::kUnknown:
    case DatagramKind::kKnock:
    case DatagramKind::kQuic:
    case DatagramKind::kDns: return;
  }
}

}  // namespace natt
