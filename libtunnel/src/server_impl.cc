// SPDX-License-Identifier: Apache-2.0
#include "src/server_impl.h"

#include <utility>

#include <natt/spa/quic_initial.h>

namespace natt::tunnel {
namespace {

// What a version and connection ids are read with; short headers carry ids of this size.
constexpr std::size_t kIdSize = spa::kConnectionIdSize;

std::optional<ByteView> destination_of(ByteView packet) {
  if (packet.empty()) return std::nullopt;  // ngtcp2 asserts that there is an octet
  ngtcp2_version_cid ids{};
  const int read = ngtcp2_pkt_decode_version_cid(&ids, packet.data(), packet.size(), kIdSize);
  // An unknown version still has a readable id (RFC 8999 section 5).
  if (read != 0 && read != NGTCP2_ERR_VERSION_NEGOTIATION) return std::nullopt;
  return ByteView{ids.dcid, ids.dcidlen};
}

// A server over QUIC has no other.
Connection& quic(const ServerEntry& entry) { return static_cast<Connection&>(*entry.connection); }

}  // namespace

Server::Impl::Impl(TlsContext& tls, InitialGate& gate, const spa::ConnectionIdKey& key, Random& random,
                   const ServerOptions& options)
    : tls_(&tls),
      gate_(gate),
      key_(key),
      random_(random),
      options_(options),
      routes_(random),
      connections_(options_, 0) {}

// ---- packets in ----

bool Server::Impl::accepts(ByteView packet) const {
  const auto id = destination_of(packet);
  return id && routes_.find(*id) != nullptr;
}

void Server::Impl::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  const auto id = destination_of(packet);
  if (!id) {
    ++stats_.malformed;
    return;
  }
  ServerEntry* const entry = routes_.find(*id);
  if (entry == nullptr) return handle_stranger(now, path, ecn, packet);
  serve(now, *entry, path, ecn, packet);
}

void Server::Impl::serve(Instant now, ServerEntry& entry, PathId path, std::uint8_t ecn, ByteView packet) {
  quic(entry).handle_packet(now, path, ecn, packet);
  connections_.settle(now, entry);
}

// Cheapest check first; nothing of ngtcp2's or TLS's state exists until the gate has said yes.
void Server::Impl::handle_stranger(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  const auto initial = spa::parse_quic_initial(packet);
  if (!initial) {
    ++drop_reason(packet);
    return;
  }
  if (draining_) {
    ++stats_.draining;
    return;
  }
  const InitialInfo info{initial->version, initial->dcid, initial->scid, initial->token};
  const auto admission = gate_.admit(now, info, path);
  if (!admission) {
    ++stats_.not_admitted;
    return;
  }
  if (!path) path = admission->path;
  const bool room = path && connections_.make_room(now, admission->identity);
  ServerEntry* const entry = room ? create(now, info, path, *admission) : nullptr;
  if (entry == nullptr) {
    ++stats_.over_limit;
    return;
  }
  const ConnectionId id = entry->id;
  switch (quic(*entry).handle_packet(now, path, ecn, packet)) {
    case Connection::Verdict::kTaken: break;
    case Connection::Verdict::kOutOfOrder:
      ++(held_.hold(now, initial->dcid, path, ecn, packet) ? stats_.held : stats_.over_limit);
      return connections_.remove(*entry);
    case Connection::Verdict::kUseless: ++stats_.malformed; return connections_.remove(*entry);
  }
  for (const HeldInitials::Packet& later : held_.take(now, initial->dcid)) {
    if (ServerEntry* const still = connections_.find_entry(id)) {
      quic(*still).handle_packet(now, later.path, later.ecn, later.bytes);
    }
  }
  connections_.note(*entry);
}

std::uint64_t& Server::Impl::drop_reason(ByteView packet) {
  const bool long_header = (packet[0] & 0x80) != 0;
  if (!long_header) {
    return key_.verify(packet.subspan(1, kIdSize)) ? stats_.unknown_id : stats_.foreign_id;
  }
  const auto version = load_be<std::uint32_t>(packet.data() + 1);
  if (version != spa::kQuicVersion1 && version != spa::kQuicVersion2) return stats_.wrong_version;
  return stats_.no_token;
}

ServerEntry* Server::Impl::create(Instant now, const InitialInfo& initial, PathId path, const Admission& admission) {
  ServerEntry& entry = connections_.add(admission.identity);
  auto ids = std::make_unique<ServerIds>(routes_, entry, key_, random_);
  spa::ConnectionIdBytes own{};
  ids->issue(own);
  ids->add(initial.dcid);
  entry.ids = std::move(ids);

  Connection::Start start;
  start.side = Side::kServer;
  start.id = entry.id;
  start.path = path;
  start.dcid = initial.scid;
  start.scid = own;
  start.original_dcid = initial.dcid;
  start.version = initial.version;
  start.expectation = admission.expectation;
  start.expectation.identity = admission.identity;  // SPA and certificate name one device
  start.wall_now = admission.wall_now;
  const Connection::Environment environment{*tls_, random_, *entry.ids, connections_.shared(), options_.transport};
  auto connection = Connection::make(now, environment, start);
  if (!connection) {
    connections_.remove(entry);
    return nullptr;
  }
  entry.connection = std::move(*connection);
  return &entry;
}

bool Server::Impl::poll_batch(Instant now, PacketBatch& batch) {
  while (const auto id = connections_.next_ready()) {
    ServerEntry* const entry = connections_.find_entry(*id);
    if (entry == nullptr) continue;
    if (quic(*entry).poll_batch(now, batch)) {
      connections_.note(*entry);  // at the end of the line: one burst each
      return true;
    }
    connections_.note_sent(*entry);
  }
  batch.clear();
  return false;
}

void Server::Impl::drain() {
  draining_ = true;
  connections_.drain();
}

ServerStats Server::Impl::stats() const {
  ServerStats stats = stats_;
  stats.handshakes_failed = connections_.handshakes_failed();
  stats.connections = connections_.living();
  return stats;
}

const Connection* Server::Impl::find(ConnectionId id) const {
  return static_cast<const Connection*>(connections_.find(id));
}

}  // namespace natt::tunnel
