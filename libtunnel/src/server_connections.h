// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a server does with its connections whatever carries them: whose turn it is to send,
// whose deadline is next, what their owner is told, and the limits per device. How bytes reach
// a connection is the server's. Resource type.

#include <deque>
#include <set>
#include <string_view>
#include <utility>

#include <natt/tunnel/server_tunnels.h>

#include "src/connection_table.h"

namespace natt::tunnel {

class ServerConnections {
 public:
  // Connections are numbered from behind `last`. The options outlive it.
  ServerConnections(const ServerOptions& options, std::uint64_t last);
  ServerConnections(const ServerConnections&) = delete;
  ServerConnections& operator=(const ServerConnections&) = delete;

  // For the connections of this server.
  [[nodiscard]] HttpSession::Shared shared() { return {chunks_, received_}; }

  // False when the server is full. Closes the oldest of the device's handshakes when it has too many: a newcomer, which
  // has proved nothing yet, takes no tunnel's place.
  [[nodiscard]] bool make_room(Instant now, const Identity& identity);
  // Without a connection.
  [[nodiscard]] ServerEntry& add(const Identity& identity);
  void remove(ServerEntry& entry);
  [[nodiscard]] ServerEntry* find_entry(ConnectionId id) const { return table_.find(id); }
  // After bytes came in: charges for requests that were taken back, and asks what there is to do.
  void settle(Instant now, ServerEntry& entry);
  // After anything happened to a connection.
  void note(ServerEntry& entry);
  // As note(), for a connection whose turn it just was.
  void note_sent(ServerEntry& entry);
  // The next connection that may have something to send, each once; it may have been removed meanwhile.
  [[nodiscard]] std::optional<ConnectionId> next_ready();

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<ServerEvent> poll_event();
  [[nodiscard]] std::optional<Datagram> poll_datagram() { return received_.poll(); }

  void set_keep_alive(ConnectionId id, Duration interval);
  void close(Instant now, ConnectionId id, std::string_view reason);
  void close_all(Instant now, const Identity& identity, std::string_view reason);
  void drain();
  [[nodiscard]] bool is_idle() const { return table_.size() == 0; }
  [[nodiscard]] std::uint64_t living() const;
  [[nodiscard]] std::uint64_t handshakes_failed() const { return handshakes_failed_; }

  // The connection of a stream; null for unknown ones.
  [[nodiscard]] TunnelConnection* find(ConnectionId id) const;
  // The same for a call that may cause bytes to send or events.
  [[nodiscard]] TunnelConnection* touch(ConnectionId id);

  // The verbs of ServerTunnels and Streams.
  [[nodiscard]] std::optional<ConnectionStats> stats(ConnectionId id) const;
  void accept(StreamId stream);
  void reject(StreamId stream, int status, std::string_view reason);
  [[nodiscard]] MutableBytes reserve(StreamId stream);
  void commit(StreamId stream, std::size_t size);
  void shutdown_write(StreamId stream);
  [[nodiscard]] ByteView peek(StreamId stream) const;
  void consume(StreamId stream, std::size_t size);
  void reset(StreamId stream, std::uint64_t code);
  [[nodiscard]] DatagramResult send_datagram(StreamId stream, ByteView payload);
  [[nodiscard]] Result<void> send_capsule(StreamId stream, const ControlCapsule& capsule);

 private:
  void check_resets(Instant now, ServerEntry& entry);
  // Closes the device's tunnel that was silent for longest when this one is one too many.
  void handle_established(Instant now, ServerEntry& entry);
  void mark_ready(ServerEntry& entry);
  void mark_eventful(ServerEntry& entry);
  void schedule(ServerEntry& entry);
  [[nodiscard]] std::optional<ServerEvent> to_server_event(ServerEntry& entry, ConnectionEvent&& event);
  [[nodiscard]] std::optional<ServerEvent> ended(ServerEntry& entry, Error error);
  void log_handshake_failure(const ServerEntry& entry, const Error& error) const;

  const ServerOptions& options_;
  ChunkPool chunks_;
  DatagramQueue received_;
  ConnectionTable table_;
  std::set<std::pair<Instant, std::uint64_t>> deadlines_;
  std::deque<ConnectionId> ready_;
  std::deque<ConnectionId> eventful_;
  std::uint64_t handshakes_failed_ = 0;
};

}  // namespace natt::tunnel
