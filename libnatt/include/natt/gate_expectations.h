// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tells a kernel gate in front of our socket what a datagram that is about to leave asks
// for, so that the answer comes through and nothing else does (natt/spa/kernel_gate.h,
// GateSocket::kTunnelUdp). One system call for each STUN request, relay control frame and
// DNS knock; none for tunnel packets.

#include <natt/spa/kernel_gate.h>
#include <natt/time.h>
#include <natt/transmit.h>

namespace natt {

// How long an answer is worth having. RFC 8489 section 6.2.1: a transaction ends 16 x RTO, which is 8 s, after its last
// request; consent (RFC 7675) goes on asking every 5 s whatever came before.
inline constexpr Duration kAnswerLifetime = std::chrono::seconds(15);
// A bound leg speaks to its relay at least every ten minutes (the longest natt/stunKeepaliveInterval); twice, and more.
inline constexpr Duration kRelayLifetime = std::chrono::minutes(25);
// Diagnosis reads it within seconds of the knock (natt/knock_diagnosis.h).
inline constexpr Duration kDnsAnswerLifetime = std::chrono::seconds(15);

// What stands in the octets: a STUN request, or a relay frame. Everything else asks for nothing.
void expect_answers_to(spa::KernelGate& gate, const Transmit& transmit);

}  // namespace natt
