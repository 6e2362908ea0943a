// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/tls_server.h>

#include <utility>

#include <natt/tunnel/errc.h>

#include "src/server_connections.h"
#include "src/tls/tls_connection.h"

namespace natt::tunnel {
namespace {

// A server over TLS has no other.
TlsConnection& tls_of(const ServerEntry& entry) { return static_cast<TlsConnection&>(*entry.connection); }

}  // namespace

class TlsServer::Impl {
 public:
  Impl(const TlsContext& context, const ServerOptions& given)
      : tls(&context), options(given), connections_(options, kTlsConnection) {}

  [[nodiscard]] Result<ConnectionId> add(Instant now, WallTime wall_now, const Identity& client);
  [[nodiscard]] ServerConnections& connections() { return connections_; }

  const TlsContext* tls;
  ServerOptions options;
  TlsServerStats refused;  // its two reasons
  bool draining = false;

 private:
  ServerConnections connections_;
};

Result<ConnectionId> TlsServer::Impl::add(Instant now, WallTime wall_now, const Identity& client) {
  if (draining) {
    ++refused.draining;
    return fail(Errc::kLimit, "the gateway is shutting down");
  }
  if (!connections_.make_room(now, client)) {
    ++refused.over_limit;
    return fail(Errc::kLimit, "the gateway has all the connections it may have");
  }
  ServerEntry& entry = connections_.add(client);
  const TlsConnection::Environment environment{*tls, connections_.shared(), options.transport};
  const PeerExpectation expectation{client.site, client.role, client};
  auto connection = TlsConnection::make(now, environment, {Side::kServer, entry.id, expectation, wall_now});
  if (!connection) {
    connections_.remove(entry);
    return tl::unexpected(connection.error());
  }
  entry.connection = std::move(*connection);
  connections_.note(entry);
  return entry.id;
}

TlsServer::TlsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsServer::~TlsServer() = default;

Result<std::unique_ptr<TlsServer>> TlsServer::make(const TlsContext& tls, const ServerOptions& options) {
  return std::unique_ptr<TlsServer>(new TlsServer(std::make_unique<Impl>(tls, options)));
}

Result<ConnectionId> TlsServer::handle_connected(Instant now, WallTime wall_now, const Identity& client,
                                                 ByteView first) {
  auto added = impl_->add(now, wall_now, client);
  if (added) handle_bytes(now, *added, first);
  return added;
}

void TlsServer::handle_bytes(Instant now, ConnectionId connection, ByteView bytes) {
  ServerEntry* const entry = impl_->connections().find_entry(connection);
  if (entry == nullptr) return;
  tls_of(*entry).handle_bytes(now, bytes);
  impl_->connections().settle(now, *entry);
}

void TlsServer::handle_disconnected(Instant, ConnectionId connection, const Error& error) {
  ServerEntry* const entry = impl_->connections().find_entry(connection);
  if (entry == nullptr) return;
  tls_of(*entry).handle_disconnected(error);
  impl_->connections().note(*entry);
  if (entry->connection->is_over()) impl_->connections().remove(*entry);
}

std::optional<ConnectionId> TlsServer::poll_progress() { return impl_->connections().next_ready(); }

ByteView TlsServer::output(Instant now, ConnectionId connection) {
  ServerEntry* const entry = impl_->connections().find_entry(connection);
  if (entry == nullptr) return {};
  const ByteView bytes = tls_of(*entry).output(now);
  impl_->connections().note_sent(*entry);
  return bytes;
}

void TlsServer::consume_output(ConnectionId connection, std::size_t count) {
  ServerEntry* const entry = impl_->connections().find_entry(connection);
  if (entry == nullptr) return;
  tls_of(*entry).consume_output(count);
  if (entry->connection->is_over()) impl_->connections().remove(*entry);
}

bool TlsServer::is_closed(ConnectionId connection) const {
  const TunnelConnection* const found = impl_->connections().find(connection);
  return found == nullptr || !found->is_alive();
}

void TlsServer::handle_timeout(Instant now) { impl_->connections().handle_timeout(now); }
std::optional<Instant> TlsServer::next_deadline() const { return impl_->connections().next_deadline(); }
std::optional<ServerEvent> TlsServer::poll_event() { return impl_->connections().poll_event(); }
std::optional<Datagram> TlsServer::poll_datagram() { return impl_->connections().poll_datagram(); }

void TlsServer::set_tls(const TlsContext& tls) { impl_->tls = &tls; }

void TlsServer::drain(Instant) {
  impl_->draining = true;
  impl_->connections().drain();
}

TlsServerStats TlsServer::stats() const {
  TlsServerStats stats = impl_->refused;
  stats.handshakes_failed = impl_->connections().handshakes_failed();
  stats.connections = impl_->connections().living();
  return stats;
}

void TlsServer::set_keep_alive(ConnectionId connection, Duration interval) {
  impl_->connections().set_keep_alive(connection, interval);
}

void TlsServer::close(Instant now, ConnectionId connection, std::string_view reason) {
  impl_->connections().close(now, connection, reason);
}

void TlsServer::close_all(Instant now, const Identity& identity, std::string_view reason) {
  impl_->connections().close_all(now, identity, reason);
}

bool TlsServer::is_idle() const { return impl_->connections().is_idle(); }
std::optional<ConnectionStats> TlsServer::stats(ConnectionId id) const { return impl_->connections().stats(id); }

void TlsServer::accept(StreamId stream) { impl_->connections().accept(stream); }
void TlsServer::reject(StreamId stream, int status, std::string_view reason) {
  impl_->connections().reject(stream, status, reason);
}
MutableBytes TlsServer::reserve(StreamId stream) { return impl_->connections().reserve(stream); }
void TlsServer::commit(StreamId stream, std::size_t size) { impl_->connections().commit(stream, size); }
void TlsServer::shutdown_write(StreamId stream) { impl_->connections().shutdown_write(stream); }
ByteView TlsServer::peek(StreamId stream) const { return impl_->connections().peek(stream); }
void TlsServer::consume(StreamId stream, std::size_t size) { impl_->connections().consume(stream, size); }
void TlsServer::reset(StreamId stream, std::uint64_t code) { impl_->connections().reset(stream, code); }
DatagramResult TlsServer::send_datagram(StreamId stream, ByteView payload) {
  return impl_->connections().send_datagram(stream, payload);
}
Result<void> TlsServer::send_capsule(StreamId stream, const ControlCapsule& capsule) {
  return impl_->connections().send_capsule(stream, capsule);
}

}  // namespace natt::tunnel
