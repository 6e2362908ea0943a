// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tunnel handshakes of one race: each is a connection of its own with its own SPA frame,
// QUIC on one path or TLS over TCP. A step may have several (a gateway with two addresses).
// Resource type; everything borrowed outlives it.

#include <deque>
#include <memory>
#include <vector>

#include <natt/spa/knocker.h>
#include <natt/tunnel/tls_client.h>

#include "src/uv/client/closing_transports.h"
#include "src/uv/client/link_site.h"

namespace natt::tunnel::uv {

class ConnectionAttempts {
 public:
  // Per step; further addresses are not tried.
  static constexpr std::size_t kMaxPerStep = 4;

  struct Outcome {
    ConnectionType step = ConnectionType::kDirect;
    // kNone: the handshake is complete and the gateway has accepted us.
    AttemptFailure failure = AttemptFailure::kNone;
  };

  ConnectionAttempts(const LinkSite& site, spa::Knocker& knocker, PeerExpectation gateway);
  ConnectionAttempts(const ConnectionAttempts&) = delete;
  ConnectionAttempts& operator=(const ConnectionAttempts&) = delete;

  // For frames made from now on; outlives the attempts.
  void set_knocker(spa::Knocker& knocker) { knocker_ = &knocker; }
  [[nodiscard]] Result<void> start(Instant now, ConnectionType step, PathId path);
  // Over TCP: straight to an address of the gateway, or as one leg of a relayed session.
  [[nodiscard]] Result<void> start_direct(Instant now, const SocketAddress& to);
  [[nodiscard]] Result<void> start_relayed(Instant now, BrokerIndex broker, const RelayGrantMessage& grant);
  // Tells the gateway (the close is sent by the next pump) and forgets.
  void cancel(Instant now, ConnectionType step);
  void cancel_all(Instant now);
  // The attempt of the step that succeeded, null when it is gone; the others of the step are cancelled.
  [[nodiscard]] std::unique_ptr<TunnelTransport> take(Instant now, ConnectionType step);

  // False: no attempt's packet.
  [[nodiscard]] bool handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  void pump(Instant now);
  // Once per step: when one attempt succeeded, or the last one failed.
  [[nodiscard]] std::optional<Outcome> poll_outcome(Instant now);

 private:
  struct Attempt {
    ConnectionType step = ConnectionType::kDirect;
    std::unique_ptr<TunnelTransport> transport;
    bool confirmed = false;
  };

  [[nodiscard]] bool has_room(ConnectionType step) const;
  [[nodiscard]] Result<std::unique_ptr<TlsClient>> make_tls(Instant now) const;
  void collect_events(Instant now, Attempt& attempt);
  void drop(Instant now, Attempt& attempt, const Error& error);

  const LinkSite& site_;
  spa::Knocker* knocker_;
  PeerExpectation gateway_;
  std::vector<Attempt> attempts_;
  ClosingTransports closing_;
  std::deque<Outcome> outcomes_;
};

}  // namespace natt::tunnel::uv
