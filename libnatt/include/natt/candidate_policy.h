// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which of our candidates are offered and which of a peer's may be sent a packet
// (DESIGN section 7). The rules that keep a signaling peer, honest or not, from
// turning our socket on a victim or on our own LAN. Value type.

#include <cstdint>
#include <string_view>
#include <vector>

#include <natt/address.h>
#include <natt/candidate.h>

namespace natt {

struct CandidatePolicyOptions {
  // Of all our interfaces; keep current with CandidatePolicy::set_own_addresses.
  std::vector<IpAddress> own_addresses;
  std::vector<IpAddress> broker_addresses;
  // Private blocks that may be probed whatever the public addresses are (a routed company network).
  std::vector<IpPrefix> private_prefixes;
  // For programs that run both ends on one host: tests and the quick start. It opens the host's own
  // services to probing, so nothing but a configuration key of that meaning may set it.
  bool allow_loopback = false;
};

// What the broker vouches for about one peer, and the operator's word.
struct PeerVouch {
  // Source IPs of the peer's authenticated STUN of the last 60 s, as the broker saw them.
  std::vector<IpAddress> seen;
  // The operator's configured addresses of that gateway.
  std::vector<IpAddress> configured;
};

enum class CandidateVerdict : std::uint8_t {
  kAllowed,
  kUnusable,          // port 0, unspecified, loopback, link-local, multicast, reserved
  kOwnAddress,        // one of ours
  kBroker,            // a broker's
  kPrivateElsewhere,  // private, but the ends do not share a public IP or configured prefix
  kNotVouched,        // public, but neither seen by the broker nor configured
  kRelayType,         // relay candidates are reached by the relay, not by checks
  kTooMany,           // past kMaxCandidates
};
[[nodiscard]] std::string_view to_string(CandidateVerdict verdict);

class CandidatePolicy {
 public:
  explicit CandidatePolicy(CandidatePolicyOptions options = {}) : options_(std::move(options)) {}

  void set_own_addresses(std::vector<IpAddress> addresses) { options_.own_addresses = std::move(addresses); }
  void set_broker_addresses(std::vector<IpAddress> addresses) { options_.broker_addresses = std::move(addresses); }
  // Our public IPs as brokers' STUN answers tell them.
  void set_public_addresses(std::vector<IpAddress> addresses) { public_addresses_ = std::move(addresses); }

  [[nodiscard]] bool is_own(const IpAddress& ip) const;
  // Whether one of our candidates goes into an offer. A host candidate with a public address counts
  // only when the broker saw it (it is in the public addresses), mapped ones likewise.
  [[nodiscard]] CandidateVerdict check_own(const Candidate& candidate) const;
  // Whether checks may be sent to a candidate that signaling told.
  [[nodiscard]] CandidateVerdict check_remote(const Candidate& candidate, const PeerVouch& vouch) const;
  // Whether an authenticated check that came from `source` may be answered and followed up. A public
  // source needs no vouching (a NAT with several addresses shows the broker another one), a private one does.
  [[nodiscard]] CandidateVerdict check_source(const SocketAddress& source, const PeerVouch& vouch) const;

 private:
  [[nodiscard]] CandidateVerdict check_destination(const SocketAddress& address) const;
  [[nodiscard]] bool private_reachable(const IpAddress& ip, const PeerVouch& vouch) const;

  CandidatePolicyOptions options_;
  std::vector<IpAddress> public_addresses_;
};

}  // namespace natt
