// SPDX-License-Identifier: Apache-2.0
#pragma once

// The tunnel handshakes of one race: each is a QUIC connection of its own with its own SPA
// frame, on one path. A step may have several (a gateway with two addresses). Resource type;
// everything borrowed outlives it.

#include <deque>
#include <memory>
#include <vector>

#include <natt/race.h>
#include <natt/roster_store.h>
#include <natt/spa/knocker.h>
#include <natt/tunnel/client.h>
#include <natt/tunnel/uv/packet_pump.h>

namespace natt::tunnel::uv {

class ConnectionAttempts {
 public:
  // Per step; further addresses are not tried.
  static constexpr std::size_t kMaxPerStep = 4;

  struct Outcome {
    ConnectionType step = ConnectionType::kDirect;
    // Absent: the handshake is complete and the gateway has accepted us.
    std::optional<Error> error;
  };
  struct Winner {
    std::unique_ptr<Client> client;
    PathId path;
  };

  ConnectionAttempts(TlsContext& tls, spa::Knocker& knocker, Random& random, PeerExpectation gateway,
                     const RosterStore& roster, LogSink log);
  ConnectionAttempts(const ConnectionAttempts&) = delete;
  ConnectionAttempts& operator=(const ConnectionAttempts&) = delete;

  // For attempts started from now on; outlives them.
  void set_knocker(spa::Knocker& knocker) { knocker_ = &knocker; }
  [[nodiscard]] Result<void> start(Instant now, WallTime wall_now, ConnectionType step, PathId path);
  // Tells the gateway (the close is sent by the next pump) and forgets.
  void cancel(Instant now, ConnectionType step);
  void cancel_all(Instant now);
  // The attempt of the step that succeeded; the others of the step are cancelled.
  [[nodiscard]] Winner take(Instant now, ConnectionType step);

  // False: no attempt's packet.
  [[nodiscard]] bool handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  void pump(Instant now, PacketPump& pump);
  // Once per step: when one attempt succeeded, or the last one failed.
  [[nodiscard]] std::optional<Outcome> poll_outcome(Instant now);
  [[nodiscard]] bool uses(PathId path) const;

 private:
  struct Attempt {
    ConnectionType step = ConnectionType::kDirect;
    PathId path;
    std::unique_ptr<Client> client;
    bool confirmed = false;
  };

  void collect_events(Instant now, Attempt& attempt);
  void drop(Attempt& attempt, const Error& error);

  TlsContext& tls_;
  spa::Knocker* knocker_;
  Random& random_;
  PeerExpectation gateway_;
  const RosterStore& roster_;
  LogSink log_;
  std::vector<Attempt> attempts_;
  std::vector<std::unique_ptr<Client>> closing_;  // one last packet each
  std::deque<Outcome> outcomes_;
};

}  // namespace natt::tunnel::uv
