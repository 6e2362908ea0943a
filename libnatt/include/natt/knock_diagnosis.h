// SPDX-License-Identifier: Apache-2.0
#pragma once

// Why a broker may be silent, from what the device itself has seen and knows: a broker
// tells strangers nothing, and to it everybody is a stranger until a knock is valid, so
// only the client can tell its operator. Pure function over a value.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <natt/address.h>
#include <natt/identity.h>
#include <natt/spa_mode.h>
#include <natt/time.h>

namespace natt {

enum class SilenceCause : std::uint8_t {
  kRefused,         // nothing listens there
  kUnreachable,     // no route
  kClosed,          // somebody ends the connection before a word is said
  kKeyGeneration,   // this device's SPA key is not the one in the roster
  kNotInRoster,     // this device is revoked, as far as its own roster says
  kClockSkew,       // this device's clock is off by more than a knock may be
  kSplitEgress,     // UDP and TCP are known to leave with different addresses, and the mode wants one
  kDnsIntercepted,  // something else answers on UDP/53, and UDP/443 does not open the broker either
  kUdpBlocked,      // a router says that UDP does not pass
  kUdpNotCounted,   // TCP is answered by the kernel only: UDP blocked or leaving with another address
  kUnknownDevice,   // in mode tcp the same: the broker does not know this knock
  kSilent,          // no trace of the broker at all
};
[[nodiscard]] std::string_view to_string(SilenceCause cause);  // "refused", "split-egress", ...: stable names

// What is known; what is not stays unset.
struct SilenceEvidence {
  enum class Tcp : std::uint8_t { kNoAnswer, kConnected, kClosed, kRefused, kUnreachable };

  Identity broker;
  SocketAddress address;
  SpaMode mode = SpaMode::kUdpTcp;  // the broker's, as this device's file has it
  Tcp tcp = Tcp::kNoAnswer;
  // The generation of the SPA key in use, and those of this device in its newest roster.
  std::optional<std::uint16_t> own_generation;
  std::optional<std::vector<std::uint16_t>> listed_generations;  // empty: not listed any more
  // The newest generation that a session of this device was opened with: those before it are retired. 0: none yet.
  std::uint16_t newest_used = 0;
  // Broker's clock minus the time that knocks are stamped with.
  std::optional<std::chrono::milliseconds> clock_error;
  // By this device's own calendar, which nothing vouches for, its certificate ended so long ago. With the calendar
  // right a broker would say so: its TLS refuses what its silence does not.
  std::optional<std::chrono::milliseconds> past_certificate;
  // An answer came to a DNS-shaped knock; brokers send none.
  bool dns_answered = false;
  // ICMP said that UDP to the broker is prohibited or meets a closed port.
  bool udp_rejected = false;
  // This device's public addresses as brokers saw them last, over signaling (TCP) and STUN (UDP).
  std::optional<IpAddress> tcp_source;
  std::optional<IpAddress> udp_source;
};

struct SilenceDiagnosis {
  SilenceCause cause = SilenceCause::kSilent;
  std::string sentence;  // one, with what to do; no secrets
  friend bool operator==(const SilenceDiagnosis&, const SilenceDiagnosis&) = default;
};

// The most certain cause first: what the device knows of itself, then what it has seen, then what is likely.
[[nodiscard]] SilenceDiagnosis diagnose_silence(const SilenceEvidence& evidence);

}  // namespace natt
