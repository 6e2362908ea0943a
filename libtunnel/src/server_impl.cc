// SPDX-License-Identifier: Apache-2.0
#include "src/server_impl.h"

#include <algorithm>

#include <fmt/core.h>

#include <natt/spa/quic_initial.h>
#include <natt/tunnel/errc.h>

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

}  // namespace

Server::Impl::Impl(TlsContext& tls, InitialGate& gate, const spa::ConnectionIdKey& key, Random& random,
                   const ServerOptions& options)
    : tls_(&tls),
      gate_(gate),
      key_(key),
      random_(random),
      options_(options),
      received_(options.transport.datagram_receive_queue),
      routes_(random) {}

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
  entry.connection->handle_packet(now, path, ecn, packet);
  check_resets(now, entry);
  note(entry);
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
  ServerEntry* const entry = path && make_room(now, admission->identity) ? create(now, info, path, *admission) : nullptr;
  if (entry == nullptr) {
    ++stats_.over_limit;
    return;
  }
  const ConnectionId id = entry->id;
  switch (entry->connection->handle_packet(now, path, ecn, packet)) {
    case Connection::Verdict::kTaken: break;
    case Connection::Verdict::kOutOfOrder:
      ++(held_.hold(now, initial->dcid, path, ecn, packet) ? stats_.held : stats_.over_limit);
      return remove(*entry);
    case Connection::Verdict::kUseless: ++stats_.malformed; return remove(*entry);
  }
  for (const HeldInitials::Packet& later : held_.take(now, initial->dcid)) {
    if (ServerEntry* const still = table_.find(id)) {
      still->connection->handle_packet(now, later.path, later.ecn, later.bytes);
    }
  }
  note(*entry);
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

bool Server::Impl::make_room(Instant now, const Identity& identity) {
  const std::vector<ServerEntry*> own = table_.of(identity);
  if (own.size() >= options_.max_connections_per_identity) {
    ServerEntry* const oldest = *std::min_element(own.begin(), own.end(), [](const ServerEntry* a, const ServerEntry* b) {
      return a->connection->last_heard() < b->connection->last_heard();
    });
    close(now, oldest->id, "too many connections of this device");
  }
  return table_.size() < options_.max_connections;
}

ServerEntry* Server::Impl::create(Instant now, const InitialInfo& initial, PathId path, const Admission& admission) {
  ServerEntry& entry = table_.add(admission.identity, TokenBucket(options_.resets_per_second, options_.reset_burst));
  entry.ids = std::make_unique<ServerIds>(routes_, entry, key_, random_);
  spa::ConnectionIdBytes own{};
  entry.ids->issue(own);
  entry.ids->add(initial.dcid);

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
  const Connection::Environment environment{*tls_, random_, *entry.ids, {chunks_, received_}, options_.transport};
  auto connection = Connection::make(now, environment, start);
  if (!connection) {
    table_.remove(entry.id);
    return nullptr;
  }
  entry.connection = std::move(*connection);
  return &entry;
}

void Server::Impl::check_resets(Instant now, ServerEntry& entry) {
  for (std::uint32_t count = entry.connection->take_early_resets(); count > 0; --count) {
    if (entry.resets.take(now, 1)) continue;
    entry.connection->close_with(now, NGHTTP3_H3_EXCESSIVE_LOAD, "too many requests were taken back",
                                 {Errc::kLimit, "the client took back too many requests"});
    return;
  }
}

// ---- time and packets out ----

void Server::Impl::note(ServerEntry& entry) {
  mark_ready(entry);
  schedule(entry);
  if (entry.eventful || !entry.connection->has_events()) return;
  entry.eventful = true;
  eventful_.push_back(entry.id);
}

void Server::Impl::mark_ready(ServerEntry& entry) {
  if (entry.ready) return;
  entry.ready = true;
  ready_.push_back(entry.id);
}

// A later deadline leaves the earlier entry: it fires once for nothing, which costs less than
// moving it with every packet.
void Server::Impl::schedule(ServerEntry& entry) {
  const auto deadline = entry.connection->next_deadline();
  if (!deadline || (entry.scheduled && *entry.scheduled <= *deadline)) return;
  if (entry.scheduled) deadlines_.erase({*entry.scheduled, entry.id.value});
  entry.scheduled = deadline;
  deadlines_.insert({*deadline, entry.id.value});
}

void Server::Impl::handle_timeout(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const ConnectionId id{deadlines_.begin()->second};
    deadlines_.erase(deadlines_.begin());
    ServerEntry* const entry = table_.find(id);
    if (entry == nullptr) continue;
    entry->scheduled.reset();
    entry->connection->handle_timeout(now);
    if (entry->connection->is_over()) {
      remove(*entry);
      continue;
    }
    // Pacing may let it send now; the deadline is asked for again once it has.
    mark_ready(*entry);
    if (!entry->eventful && entry->connection->has_events()) note(*entry);
  }
}

std::optional<Instant> Server::Impl::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

bool Server::Impl::poll_batch(Instant now, PacketBatch& batch) {
  while (!ready_.empty()) {
    ServerEntry* const entry = table_.find(ready_.front());
    ready_.pop_front();
    if (entry == nullptr) continue;
    entry->ready = false;
    const bool sent = entry->connection->poll_batch(now, batch);
    if (sent) {
      note(*entry);  // at the end of the line: one burst each
      return true;
    }
    schedule(*entry);
    if (!entry->eventful && entry->connection->has_events()) {
      entry->eventful = true;
      eventful_.push_back(entry->id);
    }
  }
  batch.clear();
  return false;
}

void Server::Impl::remove(ServerEntry& entry) {
  if (entry.scheduled) deadlines_.erase({*entry.scheduled, entry.id.value});
  table_.remove(entry.id);
}

// ---- events ----

std::optional<ServerEvent> Server::Impl::poll_event() {
  while (!eventful_.empty()) {
    ServerEntry* const entry = table_.find(eventful_.front());
    if (entry != nullptr) {
      if (auto event = entry->connection->poll_event()) {
        if (auto told = to_server_event(*entry, std::move(*event))) return told;
        continue;
      }
      entry->eventful = false;
      schedule(*entry);
      if (entry->connection->is_over()) remove(*entry);
    }
    eventful_.pop_front();
  }
  return std::nullopt;
}

std::optional<ServerEvent> Server::Impl::to_server_event(ServerEntry& entry, ConnectionEvent&& event) {
  if (auto* const transport = std::get_if<TransportEvent>(&event)) {
    if (auto* const end = std::get_if<Ended>(transport)) return ended(entry, std::move(end->error));
    if (const auto* const path = std::get_if<PathSwitched>(transport)) return PathChanged{entry.id, path->path};
    const auto* const established = std::get_if<Established>(transport);
    if (established == nullptr) return std::nullopt;
    entry.announced = true;
    return ClientConnected{entry.id, entry.identity, entry.connection->current_path(), established->serial};
  }
  return std::visit(
      [&entry](auto&& own) -> std::optional<ServerEvent> {
        using T = std::decay_t<decltype(own)>;
        if constexpr (std::is_same_v<T, RequestArrived>) {
          return Request{own.stream, entry.identity, own.protocol, std::move(own.target)};
        } else if constexpr (std::is_same_v<T, ResponseArrived>) {
          return std::nullopt;  // a server asks for nothing
        } else {
          return std::move(own);
        }
      },
      std::get<StreamEvent>(std::move(event)));
}

std::optional<ServerEvent> Server::Impl::ended(ServerEntry& entry, Error error) {
  if (entry.announced) return ClientDisconnected{entry.id, entry.identity, std::move(error)};
  ++stats_.handshakes_failed;
  log_handshake_failure(entry, error);
  return std::nullopt;
}

void Server::Impl::log_handshake_failure(const ServerEntry& entry, const Error& error) const {
  const LogSink& log = options_.transport.log;
  if (!log.enabled(LogLevel::kInfo)) return;
  log(LogLevel::kInfo, fmt::format("tunnel.handshake.failed client={} error=\"{}\"", entry.identity.uri(), error.message));
}

std::optional<Datagram> Server::Impl::poll_datagram() {
  if (std::exchange(datagram_given_, false)) received_.pop();
  const auto datagram = received_.front();
  datagram_given_ = datagram.has_value();
  return datagram;
}

// ---- commands ----

void Server::Impl::close(Instant now, ConnectionId id, std::string_view reason) {
  ServerEntry* const entry = table_.find(id);
  if (entry == nullptr) return;
  entry->connection->close(now, reason, {Errc::kClosed, std::string(reason)});
  note(*entry);
}

void Server::Impl::set_keep_alive(ConnectionId id, Duration interval) {
  ServerEntry* const entry = table_.find(id);
  if (entry == nullptr) return;
  entry->connection->set_keep_alive(interval);
  note(*entry);
}

void Server::Impl::close_all(Instant now, const Identity& identity, std::string_view reason) {
  for (const ServerEntry* const entry : table_.of(identity)) close(now, entry->id, reason);
}

void Server::Impl::drain() {
  draining_ = true;
  for (ServerEntry* const entry : table_.all()) {
    entry->connection->http().drain();
    note(*entry);
  }
}

ServerStats Server::Impl::stats() const {
  ServerStats stats = stats_;
  for (const ServerEntry* const entry : table_.all()) if (entry->connection->is_alive()) ++stats.connections;
  return stats;
}

Connection* Server::Impl::find(ConnectionId id) const {
  const ServerEntry* const entry = table_.find(id);
  return entry == nullptr ? nullptr : entry->connection.get();
}

Connection* Server::Impl::touch(ConnectionId id) {
  ServerEntry* const entry = table_.find(id);
  if (entry == nullptr) return nullptr;
  mark_ready(*entry);
  if (!entry->eventful) {  // the call may make an event; looked at when polled
    entry->eventful = true;
    eventful_.push_back(entry->id);
  }
  return entry->connection.get();
}

}  // namespace natt::tunnel
