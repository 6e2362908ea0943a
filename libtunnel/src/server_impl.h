// SPDX-License-Identifier: Apache-2.0
#pragma once

// The inside of Server: who gets a packet, whose turn it is to send, whose deadline is next.

#include <deque>
#include <set>
#include <utility>

#include <natt/tunnel/server.h>

#include "src/quic/connection_table.h"
#include "src/quic/held_initials.h"

namespace natt::tunnel {

class Server::Impl {
 public:
  Impl(TlsContext& tls, InitialGate& gate, const spa::ConnectionIdKey& key, Random& random,
       const ServerOptions& options);

  void handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  [[nodiscard]] bool accepts(ByteView packet) const;
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] bool poll_batch(Instant now, PacketBatch& batch);
  [[nodiscard]] std::optional<ServerEvent> poll_event();
  [[nodiscard]] std::optional<Datagram> poll_datagram();

  void set_keep_alive(ConnectionId id, Duration interval);
  void set_tls(TlsContext& tls) { tls_ = &tls; }
  void close(Instant now, ConnectionId connection, std::string_view reason);
  void close_all(Instant now, const Identity& identity, std::string_view reason);
  void drain();
  [[nodiscard]] bool is_idle() const { return table_.size() == 0; }
  [[nodiscard]] ServerStats stats() const;

  // The living connection of a stream or connection; null for others.
  [[nodiscard]] Connection* find(ConnectionId id) const;
  // The same for a call that may cause packets or events.
  [[nodiscard]] Connection* touch(ConnectionId id);

 private:
  void handle_stranger(Instant now, PathId path, std::uint8_t ecn, ByteView packet);
  [[nodiscard]] std::uint64_t& drop_reason(ByteView packet);
  [[nodiscard]] bool make_room(Instant now, const Identity& identity);
  [[nodiscard]] ServerEntry* create(Instant now, const InitialInfo& initial, PathId path, const Admission& admission);
  void serve(Instant now, ServerEntry& entry, PathId path, std::uint8_t ecn, ByteView packet);
  void check_resets(Instant now, ServerEntry& entry);
  // After anything happened to a connection.
  void note(ServerEntry& entry);
  void schedule(ServerEntry& entry);
  void mark_ready(ServerEntry& entry);
  void remove(ServerEntry& entry);
  [[nodiscard]] std::optional<ServerEvent> to_server_event(ServerEntry& entry, ConnectionEvent&& event);
  [[nodiscard]] std::optional<ServerEvent> ended(ServerEntry& entry, Error error);
  void log_handshake_failure(const ServerEntry& entry, const Error& error) const;

  TlsContext* tls_;
  InitialGate& gate_;
  const spa::ConnectionIdKey& key_;
  Random& random_;
  ServerOptions options_;
  ChunkPool chunks_;
  DatagramQueue received_;
  IdRoutes routes_;
  ConnectionTable table_;
  HeldInitials held_;
  std::set<std::pair<Instant, std::uint64_t>> deadlines_;
  std::deque<ConnectionId> ready_;
  std::deque<ConnectionId> eventful_;
  ServerStats stats_;
  bool draining_ = false;
  bool datagram_given_ = false;
};

}  // namespace natt::tunnel
