// SPDX-License-Identifier: Apache-2.0
#include "src/server_connections.h"

#include <algorithm>

#include <fmt/core.h>

#include <natt/tunnel/errc.h>

#include "src/http/error_codes.h"

namespace natt::tunnel {

ServerConnections::ServerConnections(const ServerOptions& options, std::uint64_t last)
    : options_(options), received_(options.transport.datagram_receive_queue), table_(last) {}

// ---- who is there ----

bool ServerConnections::make_room(Instant now, const Identity& identity) {
  std::vector<ServerEntry*> own = table_.of(identity);
  std::erase_if(own, [](const ServerEntry* one) { return one->connection->is_established(); });
  if (own.size() >= options_.max_handshakes_per_identity) {
    const auto by_age = [](const ServerEntry* a, const ServerEntry* b) { return a->id < b->id; };
    close(now, (*std::min_element(own.begin(), own.end(), by_age))->id, "too many handshakes of this device");
  }
  return table_.size() < options_.max_connections;
}

void ServerConnections::handle_established(Instant now, ServerEntry& entry) {
  entry.established = true;
  std::vector<ServerEntry*> others = table_.of(entry.identity);
  std::erase_if(others, [&](const ServerEntry* one) { return one == &entry || !one->connection->is_established(); });
  if (others.size() < options_.max_connections_per_identity) return;
  const auto by_silence = [](const ServerEntry* a, const ServerEntry* b) {
    return a->connection->last_heard() < b->connection->last_heard();
  };
  close(now, (*std::min_element(others.begin(), others.end(), by_silence))->id, "too many connections of this device");
}

ServerEntry& ServerConnections::add(const Identity& identity) {
  return table_.add(identity, TokenBucket(options_.resets_per_second, options_.reset_burst));
}

void ServerConnections::remove(ServerEntry& entry) {
  if (entry.scheduled) deadlines_.erase({*entry.scheduled, entry.id.value});
  table_.remove(entry.id);
}

TunnelConnection* ServerConnections::find(ConnectionId id) const {
  const ServerEntry* const entry = table_.find(id);
  return entry == nullptr ? nullptr : entry->connection.get();
}

TunnelConnection* ServerConnections::touch(ConnectionId id) {
  ServerEntry* const entry = table_.find(id);
  if (entry == nullptr) return nullptr;
  mark_ready(*entry);
  mark_eventful(*entry);  // the call may make an event; looked at when polled
  return entry->connection.get();
}

// ---- turns and time ----

void ServerConnections::settle(Instant now, ServerEntry& entry) {
  check_resets(now, entry);
  if (!entry.established && entry.connection->is_established()) handle_established(now, entry);
  note(entry);
}

void ServerConnections::check_resets(Instant now, ServerEntry& entry) {
  for (std::uint32_t count = entry.connection->take_early_resets(); count > 0; --count) {
    if (entry.resets.take(now, 1)) continue;
    entry.connection->close_with(now, kHttpExcessiveLoad, "too many requests were taken back",
                                 {Errc::kLimit, "the client took back too many requests"});
    return;
  }
}

void ServerConnections::note(ServerEntry& entry) {
  mark_ready(entry);
  note_sent(entry);
}

void ServerConnections::note_sent(ServerEntry& entry) {
  schedule(entry);
  if (entry.connection->has_events()) mark_eventful(entry);
}

void ServerConnections::mark_ready(ServerEntry& entry) {
  if (entry.ready) return;
  entry.ready = true;
  ready_.push_back(entry.id);
}

void ServerConnections::mark_eventful(ServerEntry& entry) {
  if (entry.eventful) return;
  entry.eventful = true;
  eventful_.push_back(entry.id);
}

std::optional<ConnectionId> ServerConnections::next_ready() {
  if (ready_.empty()) return std::nullopt;
  const ConnectionId id = ready_.front();
  ready_.pop_front();
  if (ServerEntry* const entry = table_.find(id)) entry->ready = false;
  return id;
}

// A later deadline leaves the earlier entry: it fires once for nothing, which costs less than
// moving it with every packet.
void ServerConnections::schedule(ServerEntry& entry) {
  const auto deadline = entry.connection->next_deadline();
  if (!deadline || (entry.scheduled && *entry.scheduled <= *deadline)) return;
  if (entry.scheduled) deadlines_.erase({*entry.scheduled, entry.id.value});
  entry.scheduled = deadline;
  deadlines_.insert({*deadline, entry.id.value});
}

void ServerConnections::handle_timeout(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const ConnectionId id{deadlines_.begin()->second};
    deadlines_.erase(deadlines_.begin());
    ServerEntry* const entry = table_.find(id);
    if (entry == nullptr) continue;
    entry->scheduled.reset();
    entry->connection->handle_timeout(now);
    // Pacing may let it send now, or it is over; the deadline is asked for again once it has sent.
    mark_ready(*entry);
    if (entry->connection->is_over()) {
      remove(*entry);
      continue;
    }
    if (!entry->eventful && entry->connection->has_events()) note(*entry);
  }
}

std::optional<Instant> ServerConnections::next_deadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

// ---- events ----

std::optional<ServerEvent> ServerConnections::poll_event() {
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

std::optional<ServerEvent> ServerConnections::to_server_event(ServerEntry& entry, ConnectionEvent&& event) {
  if (auto* const transport = std::get_if<TransportEvent>(&event)) {
    if (auto* const end = std::get_if<Ended>(transport)) return ended(entry, std::move(end->error));
    if (const auto* const path = std::get_if<PathSwitched>(transport)) return PathChanged{entry.id, path->path};
    const auto* const established = std::get_if<Established>(transport);
    if (established == nullptr) return std::nullopt;
    entry.announced = true;
    return ClientConnected{entry.id, entry.identity, established->path, established->serial};
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

std::optional<ServerEvent> ServerConnections::ended(ServerEntry& entry, Error error) {
  if (entry.announced) return ClientDisconnected{entry.id, entry.identity, std::move(error)};
  ++handshakes_failed_;
  log_handshake_failure(entry, error);
  return std::nullopt;
}

void ServerConnections::log_handshake_failure(const ServerEntry& entry, const Error& error) const {
  const LogSink& log = options_.transport.log;
  if (!log.enabled(LogLevel::kInfo)) return;
  log(LogLevel::kInfo, fmt::format("tunnel.handshake.failed client={} error=\"{}\"", entry.identity.uri(), error.message));
}

// ---- commands ----

void ServerConnections::close(Instant now, ConnectionId id, std::string_view reason) {
  ServerEntry* const entry = table_.find(id);
  if (entry == nullptr) return;
  entry->connection->close(now, reason, {Errc::kClosed, std::string(reason)});
  note(*entry);
}

void ServerConnections::set_keep_alive(ConnectionId id, Duration interval) {
  ServerEntry* const entry = table_.find(id);
  if (entry == nullptr) return;
  entry->connection->set_keep_alive(interval);
  note(*entry);
}

void ServerConnections::close_all(Instant now, const Identity& identity, std::string_view reason) {
  for (const ServerEntry* const entry : table_.of(identity)) close(now, entry->id, reason);
}

void ServerConnections::drain() {
  for (ServerEntry* const entry : table_.all()) {
    entry->connection->http().drain();
    note(*entry);
  }
}

std::uint64_t ServerConnections::living() const {
  const std::vector<ServerEntry*> all = table_.all();
  return static_cast<std::uint64_t>(
      std::count_if(all.begin(), all.end(), [](const ServerEntry* entry) { return entry->connection->is_alive(); }));
}

}  // namespace natt::tunnel
