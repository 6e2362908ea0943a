// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's side of STUN. Answers a Binding request that proves itself and is
// silent to everything else: no error replies, no answer longer than its question,
// no allocation for strangers (RFC 8489 would answer 400, 401 or 420; a broker that
// must not be found does not). Checks run from cheap to expensive: form, tag of the
// transaction id, username, FINGERPRINT, MESSAGE-INTEGRITY-SHA256; then, for what is
// authentic, time, rate and replay. A retransmission (RFC 8489 section 6.2.1) from the same
// source is answered again; the same request from another source is a replay.
//
// Remembers from which IPs each device's authenticated STUN came in the last 60 s:
// only those may stand in the candidates that the hub passes on.
//
// Resource type, belongs to one loop's thread. There is nothing to wait for, so it
// has neither deadlines nor queues: the answer is returned.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <natt/address.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/stun_credential.h>
#include <natt/stun_message.h>
#include <natt/time.h>

namespace natt {

struct StunServerOptions {
  // The key of every transaction id; also in each credential that is handed out.
  StunTransactionKey transaction_key;
  // Where CHANGE-REQUEST is answered from (RFC 5780): the same IP with the other port (UDP/53). Absent: requests
  // with CHANGE-REQUEST are dropped, OTHER-ADDRESS is not told.
  std::optional<std::uint16_t> primary_port;
  std::optional<std::uint16_t> alternate_port;
  // Devices hold two credentials while one is being renewed.
  std::size_t max_credentials = 65536;
  // Both ways; DESIGN section 6.
  Duration max_clock_difference = std::chrono::seconds(60);
  // Per credential, as a token bucket of the same size.
  std::uint32_t requests_per_second = 10;
};

// Valid until the bytes given to handle_datagram() are reused.
struct StunReply {
  SocketAddress from;  // leaves from this address and port: the one asked, unless CHANGE-REQUEST says otherwise
  SocketAddress to;
  ByteView bytes;
};

class StunServer {
 public:
  struct Stats {
    std::uint64_t answered = 0;
    std::uint64_t dropped_malformed = 0;
    std::uint64_t dropped_not_a_request = 0;
    std::uint64_t dropped_bad_tag = 0;
    std::uint64_t dropped_unknown_username = 0;
    std::uint64_t dropped_bad_fingerprint = 0;
    std::uint64_t dropped_rate = 0;
    std::uint64_t dropped_bad_integrity = 0;
    std::uint64_t dropped_stale = 0;
    std::uint64_t dropped_replay = 0;
    std::uint64_t dropped_unknown_attribute = 0;
    std::uint64_t dropped_no_other_address = 0;
    std::uint64_t dropped_would_amplify = 0;
  };
  // "seen" lasts this long (DESIGN section 7).
  static constexpr Duration kSeenFor = std::chrono::seconds(60);
  // IPs remembered per credential; a dual-stack device behind a pool of two has four. The oldest goes.
  static constexpr std::size_t kMaxSeenPerCredential = 4;

  explicit StunServer(StunServerOptions options) : options_(std::move(options)) {}
  StunServer(const StunServer&) = delete;
  StunServer& operator=(const StunServer&) = delete;

  // Keys rotate: ids under the previous key are accepted until the next rotation.
  void set_transaction_key(StunTransactionKey key);
  // Errc::kLimit when the table is full, Errc::kMalformed for a username of 0 or more than 64 octets or one in use.
  [[nodiscard]] Result<void> add_credential(const Identity& device, const StunCredential& credential);
  void remove_credential(const std::string& username);
  // Revocation: every credential of the device, and what was seen of it.
  void remove_device(const Identity& device);

  // The answer, written into `out` (kStunMaxMessageSize octets suffice), or nothing. `local` is the
  // address and port that was asked.
  [[nodiscard]] std::optional<StunReply> handle_datagram(Instant now, WallTime wall_now, const SocketAddress& from,
                                                         const SocketAddress& local, ByteView bytes, MutableBytes out);

  // Source IPs of the device's authenticated STUN of the last kSeenFor, newest first.
  [[nodiscard]] std::vector<IpAddress> seen_addresses(Instant now, const Identity& device) const;
  [[nodiscard]] bool was_seen(Instant now, const Identity& device, const IpAddress& ip) const;

  [[nodiscard]] std::size_t credential_count() const { return credentials_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  struct Seen {
    IpAddress ip;
    std::optional<Instant> at;
  };
  struct Answered {
    std::uint32_t nonce;
    SocketAddress source;
    std::uint32_t answers;
  };
  // What was answered in the last one to two kReplayWindows; the rate bounds its size.
  struct Entry {
    Identity device;
    StunPassword password;
    double tokens = 0;
    Instant refilled{};
    std::array<Seen, kMaxSeenPerCredential> seen;
    Instant window_started{};
    std::vector<Answered> answered;
    std::vector<Answered> answered_before;
  };
  struct UsernameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  using Credentials = std::unordered_map<std::string, Entry, UsernameHash, std::equal_to<>>;

  [[nodiscard]] bool has_known_tag(const StunTransactionId& id) const;
  [[nodiscard]] Entry* authenticate(const StunMessage& message);
  [[nodiscard]] bool is_acceptable(Instant now, WallTime wall_now, const StunMessage& message,
                                   const SocketAddress& from, Entry& entry);
  [[nodiscard]] std::optional<StunReply> answer(const StunMessage& message, const Entry& entry,
                                                const SocketAddress& from, const SocketAddress& local,
                                                MutableBytes out);
  [[nodiscard]] bool take_token(Instant now, Entry& entry) const;
  [[nodiscard]] bool is_fresh(WallTime wall_now, const StunMessage& message) const;
  [[nodiscard]] Answered* find_answered(Instant now, Entry& entry, std::uint32_t nonce) const;
  [[nodiscard]] bool admit(Instant now, Entry& entry, std::uint32_t nonce, const SocketAddress& from);
  static void remember_source(Instant now, Entry& entry, const IpAddress& ip);
  [[nodiscard]] std::optional<SocketAddress> other_address(const SocketAddress& local) const;
  [[nodiscard]] std::optional<SocketAddress> answer_source(const StunMessage& message,
                                                           const SocketAddress& local) const;

  StunServerOptions options_;
  std::optional<StunTransactionKey> previous_key_;
  Credentials credentials_;
  std::unordered_multimap<std::string, std::string> usernames_by_device_;  // key: the identity's URI
  Stats stats_;
};

}  // namespace natt
