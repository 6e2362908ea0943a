// SPDX-License-Identifier: Apache-2.0
#pragma once

// Fields that signaling messages and sealed offers share, between protobuf and our types.
// A get_ function returns nothing, or false, for a value that is not as signal.proto says.
// Internal to libnatt.

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <natt/candidate.h>
#include <natt/identity.h>
#include <natt/punch_session.h>
#include <natt/signal_types.h>
#include <natt/time.h>

#include "offer.pb.h"
#include "src/signal/address_wire.h"

namespace natt {

// Year 9999: far beyond any certificate, and arithmetic on it cannot overflow.
inline constexpr std::uint64_t kMaxWireTime = 253'402'300'799'000;

[[nodiscard]] inline std::uint64_t to_wire_time(WallTime time) {
  const auto count = time.time_since_epoch().count();
  return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}
[[nodiscard]] inline std::optional<WallTime> get_time(std::uint64_t milliseconds) {
  if (milliseconds > kMaxWireTime) return std::nullopt;
  return WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(milliseconds)));
}
[[nodiscard]] inline std::uint64_t to_wire_duration(std::chrono::milliseconds duration) {
  return duration.count() < 0 ? 0 : static_cast<std::uint64_t>(duration.count());
}
// A day is longer than anything that lives by a duration from signaling.
[[nodiscard]] std::optional<std::chrono::milliseconds> get_duration(std::uint64_t milliseconds);

[[nodiscard]] std::optional<SessionId> get_session(const std::string& in);
[[nodiscard]] std::optional<RelayTransport> get_transport(std::uint32_t in);
[[nodiscard]] std::optional<RefusalReason> get_refusal(std::uint32_t in);
[[nodiscard]] std::optional<SessionEndReason> get_end_reason(std::uint32_t in);

void put_reach(const UdpReach& reach, wire::UdpReach& out);
[[nodiscard]] std::optional<UdpReach> get_reach(const wire::UdpReach& in);
void put_punch(const PunchCredential& punch, wire::PunchCredential& out);
[[nodiscard]] std::optional<PunchCredential> get_punch(const wire::PunchCredential& in);

using WireCandidates = google::protobuf::RepeatedPtrField<wire::Candidate>;
using WireStrings = google::protobuf::RepeatedPtrField<std::string>;
void put_candidates(const std::vector<Candidate>& candidates, WireCandidates& out);
[[nodiscard]] bool get_candidates(const WireCandidates& in, std::vector<Candidate>& out);
void put_ips(const std::vector<IpAddress>& ips, WireStrings& out);
[[nodiscard]] bool get_ips(const WireStrings& in, std::size_t limit, std::vector<IpAddress>& out);

}  // namespace natt
