// SPDX-License-Identifier: Apache-2.0
#pragma once

// A client's or gateway's end of one signaling connection to one broker: SPA hello, TLS,
// hello/welcome, keepalive, messages (docs/WIRE.md section 3). Sans-I/O; one object per
// connection attempt round; a new one, after Backoff, for the next.
//
// Resource type, one thread. Everything the constructor borrows outlives it.
//
//   auto client = SignalClient::make(options, tls, knocker, random, now);
//   connect; send(client->first_flight(wall_now));      // again for each T-SYN retry, before bytes came
//   on bytes:  client->handle_bytes(now, wall_now, bytes);
//   on FIN or error: client->handle_disconnected(now);
//   then always: write(client->take_output()); re-arm(client->next_deadline());
//                while (auto event = client->poll_event()) ...;   // SignalClosed is the last one

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include <natt/bytes.h>
#include <natt/credentials.h>
#include <natt/error.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/roster_store.h>
#include <natt/signal_message.h>
#include <natt/time.h>
#include <natt/tls_context.h>

namespace natt::spa {
class Knocker;
enum class KnockId : std::uint16_t;
}  // namespace natt::spa

namespace natt {

struct SignalClientOptions {
  Identity self;    // of the TlsContext's credentials: a client or a gateway
  Identity broker;  // accepted as the peer, no other
  std::uint64_t features = 0;
  std::uint64_t boot_id = 0;
  std::uint64_t roster_number = 0;
  std::string software;
  // Of the UDP knock that goes with this attempt: one logical knock, charged once, whatever carries it. Absent: an own
  // one.
  std::optional<spa::KnockId> knock_id;
  // When given, the broker's certificate must not be revoked in it. Outlives the client.
  const RosterStore* roster = nullptr;
  // From the first flight to Welcome (DESIGN section 5).
  Duration handshake_timeout = std::chrono::seconds(5);
  // NATs and firewalls forget idle TCP after no less than minutes (RFC 5382 section 5: 2 h 4 min), mobile
  // operators' sooner; 25 s also finds a dead path within two pings.
  Duration ping_interval = std::chrono::seconds(25);
  Duration pong_timeout = std::chrono::seconds(10);
  LogSink log;
};

// The channel is open: commands may be sent.
struct SignalConnected {
  SignalWelcome welcome;
  // Broker time = own wall time + offset; half a round trip is taken off. Also for SPA timestamps.
  std::chrono::milliseconds clock_offset{};
  Duration round_trip{};
};
// The broker's clock again, with the answer to a ping: as SignalConnected::clock_offset.
struct ClockObserved {
  std::chrono::milliseconds clock_offset{};
};
// A complete signed roster document; hand it to RosterStore and, once persisted, send RosterAck.
struct RosterReceived {
  std::uint64_t number = 0;
  RosterView view = RosterView::kClient;
  ByteBuffer document;
};
// The last event. kTimeout, kClosed: reconnect with Backoff. kWrongIdentity, kUntrusted, kRevoked,
// kExpired, kMalformed: say so to the operator, and reconnect slowly.
struct SignalClosed {
  Error error;
};

using SignalEvent = std::variant<SignalConnected, GatewayDirectory, ForwardedOffer, AnswerMessage, OfferRejection,
                                 CandidateBatch, PunchStart, SessionEnd, RelayGrantMessage, RelayRefusal,
                                 StunCredentials, RosterReceived, KeyRenewal, DrainNotice, PeerAbsent, ClockObserved,
                                 SignalClosed>;

class SignalClient {
 public:
  //  kIdle -> kHandshaking -> kGreeting -> kOpen -> kClosed
  //    '-----------'--------------'---------'--------^
  enum class State : std::uint8_t { kIdle, kHandshaking, kGreeting, kOpen, kClosed };

  // Events not yet polled; more end the channel (the broker floods, or nobody polls).
  static constexpr std::size_t kMaxEvents = 1024;
  // Output not yet taken; send() refuses beyond it (DESIGN section 5).
  static constexpr std::size_t kMaxSendQueue = 256 * 1024;

  [[nodiscard]] static Result<std::unique_ptr<SignalClient>> make(SignalClientOptions options, const TlsContext& tls,
                                                                  spa::Knocker& knocker, Random& random, Instant now,
                                                                  WallTime wall_now);
  ~SignalClient();
  SignalClient(const SignalClient&) = delete;
  SignalClient& operator=(const SignalClient&) = delete;

  // Record 1 (a fresh SPA frame each time) and record 2 (always the same ClientHello): what the
  // connection starts with, best inside the SYN. Only in kIdle; after that, the bytes come from take_output().
  // kClosed once a connection answered.
  [[nodiscard]] Result<ByteBuffer> first_flight(WallTime wall_now);

  void handle_bytes(Instant now, WallTime wall_now, ByteView bytes);
  // The connection ended or failed, for every attempt of this object.
  void handle_disconnected(Instant now);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] ByteBuffer take_output();
  [[nodiscard]] std::optional<SignalEvent> poll_event();

  // kClosed unless kOpen; kRefused for a message this role does not send; kLimit when the send queue is
  // full, or for a second offer within a second: try again later.
  [[nodiscard]] Result<void> send(Instant now, const SignalMessage& message);
  // close_notify; no event follows.
  void close();

  [[nodiscard]] State state() const;

 private:
  struct Impl;
  explicit SignalClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
