// SPDX-License-Identifier: Apache-2.0
#pragma once

// A gateway, clients and the wire between them, over QUIC or TLS, with everything that happened
// kept for asserting on. The server accepts every request unless told otherwise.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <natt/spa/connection_id.h>
#include <natt/tunnel/client.h>
#include <natt/tunnel/errc.h>
#include <natt/tunnel/server.h>
#include <natt/tunnel/tunnel_protocol.h>

#include "support/pattern.h"
#include "support/seeded_random.h"
#include "support/test_pki.h"
#include "unit/tunnel/tcp_wire.h"
#include "unit/tunnel/virtual_wire.h"

namespace natt::test {

// Knows tokens; stands for libspa's verifier.
class TokenGate final : public tunnel::InitialGate {
 public:
  std::optional<tunnel::Admission> admit(Instant now, const tunnel::InitialInfo& initial, PathId path) override;
  std::map<ByteBuffer, tunnel::Admission> known;
  std::size_t asked = 0;
};

// What one end heard. Stream numbers are keys, so this is per connection.
struct StreamRecord {
  ByteBuffer bytes;
  bool finished = false;
  bool reset = false;
  bool closed = false;
  bool writable = false;
  std::uint64_t reset_code = 0;
  int status = 0;
  std::string reason;
  std::vector<tunnel::ControlCapsule> capsules;
  std::vector<ByteBuffer> datagrams;
};

struct ClientSide {
  std::unique_ptr<TlsContext> tls;
  std::unique_ptr<tunnel::ClientTunnel> core;
  std::map<std::int64_t, StreamRecord> streams;
  std::optional<Identity> connected;
  bool confirmed = false;
  bool reads = true;  // consumes what comes
  std::vector<PathId> paths;
  std::vector<PathId> failed_paths;
  std::optional<Error> closed;

  // Of the one kind and the other.
  [[nodiscard]] tunnel::Client& quic() const { return static_cast<tunnel::Client&>(*core); }
  [[nodiscard]] tunnel::TlsClient& over_tls() const { return static_cast<tunnel::TlsClient&>(*core); }

  void drain_events();
};

class TunnelFixture {
 public:
  using Kind = tunnel::TunnelProtocol;
  explicit TunnelFixture(std::uint64_t seed, tunnel::ServerOptions options = {}, Kind kind = Kind::kQuic);

  struct ClientSetup {
    std::string name = "alice";
    std::string gateway = "gw1";
    // Whose SPA frame it shows, and so whom the door has let in; empty: its own.
    std::string token_of;
    TestPki* pki = nullptr;  // another site's
    tunnel::TransportOptions transport{};
    WirePath wire{};
    bool known_token = true;
    const char* alpn = nullptr;  // the tunnel's
  };
  // On a path of its own.
  ClientSide& add_client();
  ClientSide& add_client(const ClientSetup& setup);
  // Runs the handshake; false when it does not complete in 5 s.
  [[nodiscard]] bool connect(ClientSide& client);
  PathId new_path(ClientSide& client, WirePath properties = {});
  // Runs until the client's response for the stream is there.
  [[nodiscard]] bool answered(ClientSide& client, tunnel::StreamId stream);
  void destroy(ClientSide& client);
  // From now on nothing arrives at either end of this client.
  void silence(ClientSide& client);

  // Of either kind's stats.
  [[nodiscard]] std::uint64_t living() const;
  [[nodiscard]] std::uint64_t handshakes_failed() const;

  [[nodiscard]] tunnel::Server& quic() const { return static_cast<tunnel::Server&>(*server); }
  [[nodiscard]] VirtualWire& packets() const { return static_cast<VirtualWire&>(*wire); }
  [[nodiscard]] tunnel::TlsServer& over_tls() const { return static_cast<tunnel::TlsServer&>(*server); }
  [[nodiscard]] TcpWire& tcp() const { return static_cast<TcpWire&>(*wire); }

  // What the server heard.
  std::map<tunnel::StreamId, StreamRecord> streams;
  std::vector<tunnel::Request> requests;
  std::vector<tunnel::ClientConnected> connected;
  std::vector<tunnel::ClientDisconnected> disconnected;
  std::vector<tunnel::PathChanged> path_changes;
  // How it behaves.
  bool accepts = true;
  bool reads = true;
  bool echoes = false;

  SeededRandom random;
  TestPki pki;
  TokenGate gate;
  spa::ConnectionIdKey id_key;
  std::unique_ptr<TlsContext> tls;
  std::unique_ptr<tunnel::ServerTunnels> server;
  std::unique_ptr<Wire> wire;
  std::vector<std::unique_ptr<ClientSide>> clients;

 private:
  void add_quic(ClientSide& side, const ClientSetup& setup, const Identity& spa);
  void add_tls(ClientSide& side, const ClientSetup& setup, const Identity& spa);
  void step();
  void drain_server();
  void pull(tunnel::StreamId stream);
  std::map<tunnel::StreamId, ByteBuffer> echo_backlog_;
  std::uint64_t last_path_ = 100;
  Kind kind_;
};

[[nodiscard]] tunnel::Authority target(const char* text);

}  // namespace natt::test
