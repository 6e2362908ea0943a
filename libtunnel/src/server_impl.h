// SPDX-License-Identifier: Apache-2.0
#pragma once

// The inside of Server: who gets a packet, and who may have a connection.

#include <natt/tunnel/server.h>

#include "src/quic/connection.h"
#include "src/quic/held_initials.h"
#include "src/quic/id_routes.h"
#include "src/server_connections.h"

namespace natt::tunnel {

class Server::Impl {
 public:
  Impl(TlsContext& tls, InitialGate& gate, const spa::ConnectionIdKey& key, Random& random,
       const ServerOptions& options);

  void handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  [[nodiscard]] bool accepts(ByteView packet) const;
  [[nodiscard]] bool poll_batch(Instant now, PacketBatch& batch);
  void set_tls(TlsContext& tls) { tls_ = &tls; }
  void drain();
  [[nodiscard]] ServerStats stats() const;
  [[nodiscard]] ServerConnections& connections() { return connections_; }
  // Null for an unknown one.
  [[nodiscard]] const Connection* find(ConnectionId id) const;

 private:
  void handle_stranger(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  [[nodiscard]] std::uint64_t& drop_reason(ByteView packet);
  [[nodiscard]] ServerEntry* create(Instant now, const InitialInfo& initial, PathId path, const Admission& admission);
  void serve(Instant now, ServerEntry& entry, PathId path, std::uint8_t ecn, ByteView packet);

  TlsContext* tls_;
  InitialGate& gate_;
  const spa::ConnectionIdKey& key_;
  Random& random_;
  ServerOptions options_;
  IdRoutes routes_;
  HeldInitials held_;
  ServerStats stats_;
  bool draining_ = false;
  ServerConnections connections_;  // behind what its connections use
};

}  // namespace natt::tunnel
