// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/tls_client.h>

#include <utility>

#include <natt/tunnel/errc.h>

#include "src/client_event.h"
#include "src/tls/tls_connection.h"

namespace natt::tunnel {

class TlsClient::Impl {
 public:
  explicit Impl(const TlsClientOptions& given)
      : options(given), received(given.transport.datagram_receive_queue) {}

  // The site's name is the :authority of extended CONNECT: a gateway has no host name.
  [[nodiscard]] Result<StreamId> open(Protocol protocol, const Authority& target) {
    if (!connection->is_alive()) return fail(Errc::kClosed, "the tunnel is closed");
    return connection->http().open(protocol, target, options.expectation.site);
  }

  TlsClientOptions options;
  ChunkPool chunks;
  DatagramQueue received;
  ByteBuffer hello;  // until the gateway has answered
  std::unique_ptr<TlsConnection> connection;
};

TlsClient::TlsClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsClient::~TlsClient() = default;

Result<std::unique_ptr<TlsClient>> TlsClient::make(Instant now, WallTime wall_now, const TlsContext& tls,
                                                   const TlsClientOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  const TlsConnection::Environment environment{tls, {impl->chunks, impl->received}, impl->options.transport};
  auto connection = TlsConnection::make(now, environment, {Side::kClient, {}, impl->options.expectation, wall_now});
  if (!connection) return tl::unexpected(connection.error());
  impl->connection = std::move(*connection);
  const ByteView hello = impl->connection->output(now);
  impl->hello.assign(hello.begin(), hello.end());
  return std::unique_ptr<TlsClient>(new TlsClient(std::move(impl)));
}

ByteView TlsClient::client_hello() const { return impl_->hello; }

void TlsClient::handle_bytes(Instant now, ByteView bytes) {
  impl_->hello = {};
  impl_->connection->handle_bytes(now, bytes);
}

void TlsClient::handle_disconnected(Instant, const Error& error) { impl_->connection->handle_disconnected(error); }
ByteView TlsClient::output(Instant now) { return impl_->connection->output(now); }
void TlsClient::consume_output(std::size_t count) { impl_->connection->consume_output(count); }
void TlsClient::handle_timeout(Instant now) { impl_->connection->handle_timeout(now); }
std::optional<Instant> TlsClient::next_deadline() const { return impl_->connection->next_deadline(); }

std::optional<ClientEvent> TlsClient::poll_event() {
  auto event = impl_->connection->poll_event();
  if (!event) return std::nullopt;
  return to_client_event(std::move(*event));
}

Result<StreamId> TlsClient::open_tcp(const Authority& target) { return impl_->open(Protocol::kTcp, target); }
Result<StreamId> TlsClient::open_udp(const Authority& target) { return impl_->open(Protocol::kUdp, target); }
Result<StreamId> TlsClient::open_ip() { return impl_->open(Protocol::kIp, {}); }

void TlsClient::close(Instant now, std::string_view reason) {
  impl_->connection->close(now, reason, {Errc::kClosed, "closed by this end"});
}

bool TlsClient::is_closed() const { return !impl_->connection->is_alive(); }
ConnectionStats TlsClient::stats() const { return impl_->connection->stats(); }

MutableBytes TlsClient::reserve(StreamId stream) { return impl_->connection->http().reserve(stream.number); }
void TlsClient::commit(StreamId stream, std::size_t size) { impl_->connection->http().commit(stream.number, size); }
void TlsClient::shutdown_write(StreamId stream) { impl_->connection->http().shutdown_write(stream.number); }
ByteView TlsClient::peek(StreamId stream) const { return impl_->connection->http().peek(stream.number); }
void TlsClient::consume(StreamId stream, std::size_t size) { impl_->connection->http().consume(stream.number, size); }
void TlsClient::reset(StreamId stream, std::uint64_t code) { impl_->connection->http().reset(stream.number, code); }

DatagramResult TlsClient::send_datagram(StreamId stream, ByteView payload) {
  return impl_->connection->send_datagram(stream, payload);
}

std::optional<Datagram> TlsClient::poll_datagram() { return impl_->received.poll(); }

Result<void> TlsClient::send_capsule(StreamId stream, const ControlCapsule& capsule) {
  return impl_->connection->http().send_capsule(stream.number, capsule);
}

}  // namespace natt::tunnel
