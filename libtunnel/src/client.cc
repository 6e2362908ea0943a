// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/client.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <ngtcp2/ngtcp2_crypto_boringssl.h>

#include <natt/tunnel/errc.h>

#include "src/client_event.h"
#include "src/quic/connection.h"

namespace natt::tunnel {
namespace {

constexpr std::size_t kMinDcid = 8;  // RFC 9000 section 7.2
constexpr std::size_t kMaxCid = 20;

// The few connection ids of one client. Also tells packets of different attempts apart.
class ClientIds final : public ConnectionIds {
 public:
  explicit ClientIds(Random& random) : random_(random) {}

  void add(ByteView id) { ids_.emplace_back(id.begin(), id.end()); }
  void issue(MutableBytes id) override {
    random_.fill(id);
    add(id);
  }
  void retire(ByteView id) override {
    std::erase_if(ids_, [id](const ByteBuffer& own) { return std::equal(own.begin(), own.end(), id.begin(), id.end()); });
  }
  [[nodiscard]] bool contain(ByteView id) const {
    return std::any_of(ids_.begin(), ids_.end(),
                       [id](const ByteBuffer& own) { return std::equal(own.begin(), own.end(), id.begin(), id.end()); });
  }

 private:
  Random& random_;
  std::vector<ByteBuffer> ids_;  // at most 8 and those being retired
};

// A gateway of this project sends neither; whoever does wants to break the handshake.
bool is_retry_or_version_negotiation(ByteView packet) {
  if (packet.size() < 5 || (packet[0] & 0x80) == 0) return false;
  return load_be<std::uint32_t>(packet.data() + 1) == 0 || (packet[0] & 0xf0) == 0xf0;
}

Result<void> check(const ClientOptions& options) {
  if (options.dcid.size() < kMinDcid || options.dcid.size() > kMaxCid) {
    return fail(Errc::kInvalid, "the destination connection id needs 8 to 20 octets");
  }
  if (options.scid.empty() || options.scid.size() > kMaxCid) {
    return fail(Errc::kInvalid, "the source connection id needs 1 to 20 octets");
  }
  if (!options.path) return fail(Errc::kInvalid, "the first packet needs a path");
  if (options.transport.max_udp_payload < NGTCP2_MAX_UDP_PAYLOAD_SIZE ||
      options.transport.max_udp_payload > PacketWriter::kMaxPacket) {
    return fail(Errc::kInvalid, "max_udp_payload is outside 1200 to 9216");
  }
  return {};
}

}  // namespace

class Client::Impl {
 public:
  Impl(Random& random, const ClientOptions& given)
      : options(given), received(given.transport.datagram_receive_queue), ids(random) {
    ids.add(given.scid);
  }

  // The site's name is the :authority of extended CONNECT: a gateway has no host name.
  [[nodiscard]] Result<StreamId> open(Protocol protocol, const Authority& target) {
    if (!connection->is_alive()) return fail(Errc::kClosed, "the tunnel is closed");
    return connection->http().open(protocol, target, options.expectation.site);
  }

  ClientOptions options;
  ChunkPool chunks;
  DatagramQueue received;
  ClientIds ids;
  std::unique_ptr<Connection> connection;
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::make(Instant now, WallTime wall_now, TlsContext& tls, Random& random,
                                             const ClientOptions& options) {
  if (auto checked = check(options); !checked) return tl::unexpected(checked.error());
  if (ngtcp2_crypto_boringssl_configure_client_context(tls.native()) != 0) {
    return fail(Errc::kHandshake, "the TLS library cannot serve QUIC");
  }
  auto impl = std::make_unique<Impl>(random, options);
  const ClientOptions& kept = impl->options;
  const Connection::Environment environment{tls, random, impl->ids, {impl->chunks, impl->received}, kept.transport};
  Connection::Start start;
  start.side = Side::kClient;
  start.path = kept.path;
  start.dcid = kept.dcid;
  start.scid = kept.scid;
  start.token = kept.token;
  start.expectation = kept.expectation;
  start.wall_now = wall_now;
  auto connection = Connection::make(now, environment, start);
  if (!connection) return tl::unexpected(connection.error());
  impl->connection = std::move(*connection);
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

bool Client::accepts(ByteView packet) const {
  if (packet.empty()) return false;  // ngtcp2 asserts that there is an octet
  ngtcp2_version_cid ids{};
  const int read = ngtcp2_pkt_decode_version_cid(&ids, packet.data(), packet.size(), impl_->options.scid.size());
  return read == 0 && impl_->ids.contain({ids.dcid, ids.dcidlen});
}

void Client::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  if (packet.empty() || is_retry_or_version_negotiation(packet)) return;
  impl_->connection->handle_packet(now, path, ecn, packet);
}

void Client::handle_timeout(Instant now) { impl_->connection->handle_timeout(now); }
std::optional<Instant> Client::next_deadline() const { return impl_->connection->next_deadline(); }
bool Client::poll_batch(Instant now, PacketBatch& batch) { return impl_->connection->poll_batch(now, batch); }

std::optional<ClientEvent> Client::poll_event() {
  auto event = impl_->connection->poll_event();
  if (!event) return std::nullopt;
  return to_client_event(std::move(*event));
}

Result<StreamId> Client::open_tcp(const Authority& target) { return impl_->open(Protocol::kTcp, target); }
Result<StreamId> Client::open_udp(const Authority& target) { return impl_->open(Protocol::kUdp, target); }
Result<StreamId> Client::open_ip() { return impl_->open(Protocol::kIp, {}); }

Result<void> Client::migrate(Instant now, PathId path, MigrationKind kind) {
  if (!path) return fail(Errc::kInvalid, "there is no path to change to");
  return impl_->connection->migrate(now, path, kind == MigrationKind::kFailover);
}

void Client::close(Instant now, std::string_view reason) {
  impl_->connection->close(now, reason, {Errc::kClosed, "closed by this end"});
}

bool Client::is_closed() const { return !impl_->connection->is_alive(); }
PathId Client::current_path() const { return impl_->connection->current_path(); }
ConnectionStats Client::stats() const { return impl_->connection->stats(); }

std::size_t Client::datagram_limit(StreamId stream) const { return impl_->connection->datagram_limit(stream.number); }
MutableBytes Client::reserve(StreamId stream) { return impl_->connection->http().reserve(stream.number); }
void Client::commit(StreamId stream, std::size_t size) { impl_->connection->http().commit(stream.number, size); }
void Client::shutdown_write(StreamId stream) { impl_->connection->http().shutdown_write(stream.number); }
ByteView Client::peek(StreamId stream) const { return impl_->connection->http().peek(stream.number); }
void Client::consume(StreamId stream, std::size_t size) { impl_->connection->http().consume(stream.number, size); }
void Client::reset(StreamId stream, std::uint64_t code) { impl_->connection->http().reset(stream.number, code); }

DatagramResult Client::send_datagram(StreamId stream, ByteView payload) {
  return impl_->connection->send_datagram(stream, payload);
}

std::optional<Datagram> Client::poll_datagram() { return impl_->received.poll(); }

Result<void> Client::send_capsule(StreamId stream, const ControlCapsule& capsule) {
  return impl_->connection->http().send_capsule(stream.number, capsule);
}

}  // namespace natt::tunnel
