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

void Server::handle_timeout(Instant now) { impl_->handle_timeout(now); }
std::optional<Instant> Server::next_deadline() const { return impl_->next_deadline(); }
bool Server::poll_batch(Instant now, PacketBatch& batch) { return impl_->poll_batch(now, batch); }
std::optional<ServerEvent> Server::poll_event() { return impl_->poll_event(); }
std::optional<Datagram> Server::poll_datagram() { return impl_->poll_datagram(); }

Result<void> Server::prepare_tls(TlsContext& tls) { return configure(tls); }
void Server::set_tls(TlsContext& tls) { impl_->set_tls(tls); }
void Server::set_keep_alive(ConnectionId connection, Duration interval) { impl_->set_keep_alive(connection, interval); }

void Server::close(Instant now, ConnectionId connection, std::string_view reason) {
  impl_->close(now, connection, reason);
}

void Server::close_all(Instant now, const Identity& identity, std::string_view reason) {
  impl_->close_all(now, identity, reason);
}

void Server::drain(Instant) { impl_->drain(); }
bool Server::is_idle() const { return impl_->is_idle(); }
ServerStats Server::stats() const { return impl_->stats(); }

std::optional<ConnectionStats> Server::stats(ConnectionId id) const {
  const Connection* const connection = impl_->find(id);
  if (connection == nullptr) return std::nullopt;
  return connection->stats();
}

std::size_t Server::datagram_limit(StreamId stream) const {
  const Connection* const connection = impl_->find(stream.connection);
  return connection == nullptr ? 0 : connection->datagram_limit(stream.number);
}

void Server::accept(StreamId stream) {
  if (Connection* const connection = impl_->touch(stream.connection)) connection->http().accept(stream.number);
}

void Server::reject(StreamId stream, int status, std::string_view reason) {
  if (Connection* const connection = impl_->touch(stream.connection)) {
    connection->http().reject(stream.number, status, reason);
  }
}

MutableBytes Server::reserve(StreamId stream) {
  Connection* const connection = impl_->find(stream.connection);
  return connection == nullptr ? MutableBytes{} : connection->http().reserve(stream.number);
}

void Server::commit(StreamId stream, std::size_t size) {
  if (Connection* const connection = impl_->touch(stream.connection)) connection->http().commit(stream.number, size);
}

void Server::shutdown_write(StreamId stream) {
  if (Connection* const connection = impl_->touch(stream.connection)) connection->http().shutdown_write(stream.number);
}

ByteView Server::peek(StreamId stream) const {
  const Connection* const connection = impl_->find(stream.connection);
  return connection == nullptr ? ByteView{} : connection->http().peek(stream.number);
}

void Server::consume(StreamId stream, std::size_t size) {
  if (Connection* const connection = impl_->touch(stream.connection)) connection->http().consume(stream.number, size);
}

void Server::reset(StreamId stream, std::uint64_t code) {
  if (Connection* const connection = impl_->touch(stream.connection)) connection->http().reset(stream.number, code);
}

DatagramResult Server::send_datagram(StreamId stream, ByteView payload) {
  Connection* const connection = impl_->touch(stream.connection);
  return connection == nullptr ? DatagramResult::kNotAllowed : connection->send_datagram(stream, payload);
}

Result<void> Server::send_capsule(StreamId stream, const ControlCapsule& capsule) {
  Connection* const connection = impl_->touch(stream.connection);
  if (connection == nullptr) return fail(Errc::kInvalid, "there is no such connection");
  return connection->http().send_capsule(stream.number, capsule);
}

}  // namespace natt::tunnel
