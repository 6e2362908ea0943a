// SPDX-License-Identifier: Apache-2.0
#pragma once

// Carries bytes between TlsServer and the TCP connections of clients that were let in,
// through the door or on a relayed leg. What the kernel does not take stays with the server,
// whose windows stop the streams then. Decides nothing.
//
// Resource type on the loop's thread; server and owner outlive it. After the destructor has
// returned no callback runs.

#include <map>
#include <memory>
#include <optional>
#include <set>

#include <natt/deadline_index.h>
#include <natt/signal_types.h>
#include <natt/tunnel/tls_server.h>
#include <natt/uv/tcp_connection.h>

namespace natt::tunnel::uv {

// Where a TLS tunnel comes from.
struct TlsRoute {
  SocketAddress remote;
  // Relayed: of which session.
  std::optional<SessionId> session;
};

class TlsConnections {
 public:
  // Queued in user space for one connection; the kernel holds about as much that it has not sent, and whatever is under
  // way. A few GSO bursts, as StreamBridge.
  static constexpr std::size_t kQueueLimit = 256 * 1024;
  // Written for one connection in one callback of the loop; the rest waits for the next turn.
  static constexpr std::size_t kBurst = 512 * 1024;

  class Owner {
   public:
    virtual ~Owner() = default;
    // Bytes came in, or went out after a pause: ask the server for events, then flush().
    virtual void on_tls_progress(Instant now) = 0;
  };

  TlsConnections(TlsServer& server, Owner& owner);
  ~TlsConnections();
  TlsConnections(const TlsConnections&) = delete;
  TlsConnections& operator=(const TlsConnections&) = delete;

  // `first` is what `client` has sent already, from its ClientHello on. Without room for it the connection is closed.
  void add(Instant now, WallTime wall_now, const Identity& client,
           std::unique_ptr<natt::uv::TcpConnection> connection, TlsRoute route, ByteView first);
  // Writes what the server has for its clients, and closes what is over. True: something was written, so the server may
  // have events.
  bool flush(Instant now);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // Absent once the TCP connection is gone.
  [[nodiscard]] std::optional<TlsRoute> route(ConnectionId id) const;
  // As the kernel has measured it; 0 before.
  [[nodiscard]] std::uint64_t smoothed_rtt_us(ConnectionId id) const;
  // Since the last call the client's host has acknowledged octets of more that waited. False over a relay, which speaks
  // for itself only, and for unknown ones.
  [[nodiscard]] bool moves_backlog(ConnectionId id);
  // Those that are being closed included.
  [[nodiscard]] std::size_t size() const { return links_.size(); }

 private:
  // From the end of a tunnel to the reset of its connection, if the peer has not ended it before. In front of the last
  // words may lie what a client that reads nothing was to get: neither it nor a revoked one gets more time for that.
  static constexpr Duration kClosingTime = std::chrono::seconds(1);

  class Link;
  void handle_bytes(Instant now, ConnectionId id, ByteView bytes);
  void handle_drained(Instant now, ConnectionId id);
  void handle_gone(Instant now, ConnectionId id, const Error& error);
  std::size_t write_some(Instant now, ConnectionId id);
  void start_closing(Instant now, ConnectionId id, Link& link);

  TlsServer& server_;
  Owner& owner_;
  std::map<ConnectionId, std::unique_ptr<Link>> links_;
  std::set<ConnectionId> ready_;  // may have something to write
  std::set<ConnectionId> later_;  // have had their burst
  DeadlineIndex<ConnectionId> closing_;
};

}  // namespace natt::tunnel::uv
