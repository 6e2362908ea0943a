// SPDX-License-Identifier: Apache-2.0
#pragma once

// Learns and keeps the mapping of one UDP socket as one STUN server sees it
// (RFC 8489 Binding), by asking again at the keepalive interval. One object per
// (socket, server). With a credential it speaks to our broker (tagged transaction
// id, time, MESSAGE-INTEGRITY-SHA256, FINGERPRINT); without one it asks any
// ordinary STUN server.
//
// Resource type, belongs to one loop's thread. Cores' verbs: hand in datagrams and
// time, then drain poll_transmit() and poll_event() and arm one timer for
// next_deadline().
//
//   auto client = StunClient::make({.server = broker, .credential = credential}, random);
//   (*client)->start(now, wall_now);

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <natt/address.h>
#include <natt/error.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/stun_credential.h>
#include <natt/stun_message.h>
#include <natt/stun_retransmission.h>
#include <natt/time.h>
#include <natt/transmit.h>

namespace natt {

struct StunClientOptions {
  SocketAddress server;
  std::optional<StunCredential> credential;
  // A broker is asked only with a credential: until set_credential() the client waits. An
  // ordinary server (false) is asked without.
  bool credential_required = true;
  // natt/stunKeepaliveInterval. RFC 8445 section 11 asks for 15 s; RFC 4787 REQ-5 promises 2 minutes of
  // mapping, home routers give 30 s.
  Duration keepalive_interval = std::chrono::seconds(15);
  StunRetransmissionOptions retransmission;
  // After a failed transaction the next one starts this much later (doubling up to the keepalive
  // interval), so that an unreachable broker costs little.
  Duration retry_after_failure = std::chrono::seconds(1);
  LogSink log;
};

// The first answer, and the first after a failure when it tells the same mapping.
struct StunMapped {
  SocketAddress mapped;
  IpAddress local;  // the address of ours that the answer came to
  Duration rtt{};   // of an answer to the first transmission, otherwise an upper bound
};
// The NAT gave the socket another address or port: everything punched through the old one is gone.
struct StunMappingChanged {
  SocketAddress previous;
  SocketAddress mapped;
};
// One transaction ended without an answer. The client goes on trying by itself. The message starts with
// "STUN Binding Request failed: ".
struct StunFailed {
  Error error;
};
using StunClientEvent = std::variant<StunMapped, StunMappingChanged, StunFailed>;

class StunClient {
 public:
  struct Stats {
    std::uint64_t requests_sent = 0;
    std::uint64_t responses = 0;
    std::uint64_t dropped_wrong_source = 0;
    std::uint64_t dropped_unknown_transaction = 0;
    std::uint64_t dropped_unauthentic = 0;
    std::uint64_t dropped_malformed = 0;
  };

  // "STUN client initialization failed: ..." (Errc::kUnavailable) names what the configuration lacks.
  [[nodiscard]] static Result<std::unique_ptr<StunClient>> make(StunClientOptions options, Random& random);
  StunClient(const StunClient&) = delete;
  StunClient& operator=(const StunClient&) = delete;

  // Asks at once (or as soon as there is a credential).
  void start(Instant now, WallTime wall_now);
  // New credential from signaling; used from the next transmission on. Asks at once when none was there.
  void set_credential(Instant now, WallTime wall_now, StunCredential credential);
  // natt/stunKeepaliveInterval at run time; also what NAT behaviour discovery may lower.
  void set_keepalive_interval(Instant now, Duration interval);
  // Asks at once: after a network change, or when a mapping is needed that is known to be fresh.
  void refresh(Instant now, WallTime wall_now);
  // No further packet, no further event.
  void close();

  // True when the datagram was an answer to this client (and is used up), false when it is somebody
  // else's: another client's, or a connectivity check.
  [[nodiscard]] bool handle_datagram(Instant now, const SocketAddress& from, const IpAddress& local, ByteView bytes);
  void handle_timeout(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Transmit> poll_transmit();
  [[nodiscard]] std::optional<StunClientEvent> poll_event();

  // The mapping last seen; absent before the first answer and after a failure.
  [[nodiscard]] std::optional<SocketAddress> mapped() const { return mapped_; }
  // When the broker last answered; its "seen in the last 60 s" runs from here.
  [[nodiscard]] std::optional<Instant> last_answer() const { return last_answer_; }
  [[nodiscard]] const SocketAddress& server() const { return options_.server; }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  enum class State : std::uint8_t { kIdle, kAsking, kWaiting, kClosed };

  // Events the owner has not polled yet; the oldest goes.
  static constexpr std::size_t kMaxEvents = 16;

  StunClient(StunClientOptions options, Random& random);
  void transition_to(State next);
  void begin_transaction(Instant now, WallTime wall_now);
  void send_request();
  void end_transaction(Instant now, Duration pause);
  void fail_transaction(Instant now, const std::string& reason);
  [[nodiscard]] ByteBuffer build_request(WallTime wall_now) const;
  [[nodiscard]] bool is_authentic(const StunMessage& message) const;
  void handle_response(Instant now, const IpAddress& local, const StunMessage& message);
  void accept_mapping(Instant now, const IpAddress& local, const SocketAddress& mapped);
  void push_event(StunClientEvent event);

  StunClientOptions options_;
  Random& random_;
  State state_ = State::kIdle;
  // The transaction under way: what was sent, and what its answer has to be signed with.
  StunRetransmission retransmission_;
  StunTransactionId transaction_;
  std::optional<StunPassword> password_;
  ByteBuffer request_;
  Instant asked_at_{};
  // When the next one begins.
  std::optional<Instant> wake_;
  Duration failure_pause_{};
  std::optional<SocketAddress> mapped_;
  std::optional<SocketAddress> previous_mapped_;
  std::optional<Instant> last_answer_;
  std::optional<Transmit> transmit_;  // a newer one replaces one that was not polled
  std::vector<StunClientEvent> events_;
  Stats stats_;
};

}  // namespace natt
