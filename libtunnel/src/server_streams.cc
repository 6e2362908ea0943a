// SPDX-License-Identifier: Apache-2.0
// The stream verbs of ServerConnections: each finds the connection and hands over.
#include <natt/tunnel/errc.h>

#include "src/server_connections.h"

namespace natt::tunnel {

std::optional<ConnectionStats> ServerConnections::stats(ConnectionId id) const {
  const TunnelConnection* const connection = find(id);
  if (connection == nullptr) return std::nullopt;
  return connection->stats();
}

void ServerConnections::accept(StreamId stream) {
  if (TunnelConnection* const connection = touch(stream.connection)) connection->http().accept(stream.number);
}

void ServerConnections::reject(StreamId stream, int status, std::string_view reason) {
  if (TunnelConnection* const connection = touch(stream.connection)) {
    connection->http().reject(stream.number, status, reason);
  }
}

MutableBytes ServerConnections::reserve(StreamId stream) {
  TunnelConnection* const connection = find(stream.connection);
  return connection == nullptr ? MutableBytes{} : connection->http().reserve(stream.number);
}

void ServerConnections::commit(StreamId stream, std::size_t size) {
  if (TunnelConnection* const connection = touch(stream.connection)) connection->http().commit(stream.number, size);
}

void ServerConnections::shutdown_write(StreamId stream) {
  if (TunnelConnection* const connection = touch(stream.connection)) connection->http().shutdown_write(stream.number);
}

ByteView ServerConnections::peek(StreamId stream) const {
  const TunnelConnection* const connection = find(stream.connection);
  return connection == nullptr ? ByteView{} : connection->http().peek(stream.number);
}

void ServerConnections::consume(StreamId stream, std::size_t size) {
  if (TunnelConnection* const connection = touch(stream.connection)) connection->http().consume(stream.number, size);
}

void ServerConnections::reset(StreamId stream, std::uint64_t code) {
  if (TunnelConnection* const connection = touch(stream.connection)) connection->http().reset(stream.number, code);
}

DatagramResult ServerConnections::send_datagram(StreamId stream, ByteView payload) {
  TunnelConnection* const connection = touch(stream.connection);
  return connection == nullptr ? DatagramResult::kNotAllowed : connection->send_datagram(stream, payload);
}

Result<void> ServerConnections::send_capsule(StreamId stream, const ControlCapsule& capsule) {
  TunnelConnection* const connection = touch(stream.connection);
  if (connection == nullptr) return fail(Errc::kInvalid, "there is no such connection");
  return connection->http().send_capsule(stream.number, capsule);
}

}  // namespace natt::tunnel
