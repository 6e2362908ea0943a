// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/server.h>

#include <utility>

#include <ngtcp2/ngtcp2_crypto_boringssl.h>

#include <natt/tunnel/errc.h>

#include "src/server_impl.h"

namespace natt::tunnel {
namespace {

Result<void> configure(TlsContext& tls) {
  if (ngtcp2_crypto_boringssl_configure_server_context(tls.native()) == 0) return {};
  return fail(Errc::kHandshake, "the TLS library cannot serve QUIC");
}

}  // namespace

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::make(TlsContext& tls, InitialGate& gate,
                                             const spa::ConnectionIdKey& connection_ids, Random& random,
                                             const ServerOptions& options) {
  const std::size_t payload = options.transport.max_udp_payload;
  if (payload < NGTCP2_MAX_UDP_PAYLOAD_SIZE || payload > PacketWriter::kMaxPacket) {
    return fail(Errc::kInvalid, "max_udp_payload is outside 1200 to 9216");
  }
  if (auto configured = configure(tls); !configured) return tl::unexpected(configured.error());
  auto impl = std::make_unique<Impl>(tls, gate, connection_ids, random, options);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

bool Server::accepts(ByteView packet) const { return impl_->accepts(packet); }

void Server::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  impl_->handle_packet(now, path, ecn, packet);
}

void Server::handle_timeout(Instant now) { impl_->connections().handle_timeout(now); }
std::optional<Instant> Server::next_deadline() const { return impl_->connections().next_deadline(); }
bool Server::poll_batch(Instant now, PacketBatch& batch) { return impl_->poll_batch(now, batch); }
std::optional<ServerEvent> Server::poll_event() { return impl_->connections().poll_event(); }
std::optional<Datagram> Server::poll_datagram() { return impl_->connections().poll_datagram(); }

Result<void> Server::prepare_tls(TlsContext& tls) { return configure(tls); }
void Server::set_tls(TlsContext& tls) { impl_->set_tls(tls); }
void Server::drain(Instant) { impl_->drain(); }
ServerStats Server::stats() const { return impl_->stats(); }

std::size_t Server::datagram_limit(StreamId stream) const {
  const Connection* const connection = impl_->find(stream.connection);
  return connection == nullptr ? 0 : connection->datagram_limit(stream.number);
}

void Server::set_keep_alive(ConnectionId connection, Duration interval) {
  impl_->connections().set_keep_alive(connection, interval);
}

void Server::close(Instant now, ConnectionId connection, std::string_view reason) {
  impl_->connections().close(now, connection, reason);
}

void Server::close_all(Instant now, const Identity& identity, std::string_view reason) {
  impl_->connections().close_all(now, identity, reason);
}

bool Server::is_idle() const { return impl_->connections().is_idle(); }
std::optional<ConnectionStats> Server::stats(ConnectionId id) const { return impl_->connections().stats(id); }

void Server::accept(StreamId stream) { impl_->connections().accept(stream); }
void Server::reject(StreamId stream, int status, std::string_view reason) {
  impl_->connections().reject(stream, status, reason);
}
MutableBytes Server::reserve(StreamId stream) { return impl_->connections().reserve(stream); }
void Server::commit(StreamId stream, std::size_t size) { impl_->connections().commit(stream, size); }
void Server::shutdown_write(StreamId stream) { impl_->connections().shutdown_write(stream); }
ByteView Server::peek(StreamId stream) const { return impl_->connections().peek(stream); }
void Server::consume(StreamId stream, std::size_t size) { impl_->connections().consume(stream, size); }
void Server::reset(StreamId stream, std::uint64_t code) { impl_->connections().reset(stream, code); }
DatagramResult Server::send_datagram(StreamId stream, ByteView payload) {
  return impl_->connections().send_datagram(stream, payload);
}
Result<void> Server::send_capsule(StreamId stream, const ControlCapsule& capsule) {
  return impl_->connections().send_capsule(stream, capsule);
}

}  // namespace natt::tunnel
