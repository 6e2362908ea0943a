// SPDX-License-Identifier: Apache-2.0
#include "unit/tunnel/tcp_wire.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <natt/errc.h>

namespace natt::test {
namespace {

std::size_t room_in(const std::deque<TcpWire::Link::Segment>& pipe) {
  std::size_t held = 0;
  for (const auto& segment : pipe) held += segment.bytes.size();
  return TcpWire::kBuffer - std::min(held, TcpWire::kBuffer);
}

std::size_t bound_of_output(bool closed) {
  return tunnel::TlsClient::kMaxOutput + (closed ? tunnel::TlsClient::kMaxFarewell : 0);
}

}  // namespace

TcpWire::Link& TcpWire::attach(tunnel::TlsClient& client, const Identity& identity, Duration latency) {
  Link& link = *links_.emplace_back(std::make_unique<Link>());
  link.client = &client;
  link.identity = identity;
  link.latency = latency;
  return link;
}

TcpWire::Link& TcpWire::link(const tunnel::TlsClient& client) {
  return **std::find_if(links_.begin(), links_.end(), [&](const auto& link) { return link->client == &client; });
}

// As the programs hand it over (natt/errc.h).
Error TcpWire::end_of_stream() { return {make_error_code(Errc::kClosed), "end of stream"}; }

void TcpWire::cut(Link& link, const Error& error) {
  link.to_server.clear();
  link.to_client.clear();
  if (link.client != nullptr) link.client->handle_disconnected(now_, error);
  if (link.connection) server_.handle_disconnected(now_, *link.connection, error);
  link.server_closed = link.client_closed = true;
}

void TcpWire::send(std::deque<Link::Segment>& pipe, const Link& link, ByteView bytes, bool end) {
  pipe.push_back({now_ + link.latency, {bytes.begin(), bytes.end()}, end});
}

void TcpWire::flush() {
  for (const auto& link : links_) flush_client(*link);
  while (const auto id = server_.poll_progress()) {
    for (const auto& link : links_) {
      if (link->connection == *id) flush_server(*link);
    }
  }
}

void TcpWire::flush_client(Link& link) {
  if (link.client == nullptr || link.client_closed) return;
  for (ByteView out = link.client->output(now_); !out.empty(); out = link.client->output(now_)) {
    const ByteView taken = out.first(std::min(out.size(), room_in(link.to_server)));
    if (taken.empty()) return;
    if (out.size() > bound_of_output(link.client->is_closed())) std::abort();
    ++counters_.to_server;
    counters_.bytes_to_server += taken.size();
    send(link.to_server, link, taken, false);
    link.client->consume_output(taken.size());
  }
  if (link.client->is_closed() && !std::exchange(link.client_closed, true)) send(link.to_server, link, {}, true);
}

void TcpWire::flush_server(Link& link) {
  if (link.server_closed) return;
  const tunnel::ConnectionId id = *link.connection;
  for (ByteView out = server_.output(now_, id); !out.empty(); out = server_.output(now_, id)) {
    const ByteView taken = out.first(std::min(out.size(), room_in(link.to_client)));
    if (taken.empty()) return;
    if (out.size() > bound_of_output(server_.is_closed(id))) std::abort();
    ++counters_.to_client;
    counters_.bytes_to_client += taken.size();
    send(link.to_client, link, taken, false);
    server_.consume_output(id, taken.size());
  }
  if (server_.is_closed(id) && !std::exchange(link.server_closed, true)) send(link.to_client, link, {}, true);
}

void TcpWire::fire_timers() {
  if (const auto deadline = server_.next_deadline(); deadline && *deadline <= now_) server_.handle_timeout(now_);
  for (const auto& link : links_) {
    if (link->client == nullptr) continue;
    const auto deadline = link->client->next_deadline();
    if (deadline && *deadline <= now_) link->client->handle_timeout(now_);
  }
}

std::optional<Instant> TcpWire::next_event() const {
  std::optional<Instant> next = server_.next_deadline();
  for (const auto& link : links_) {
    if (link->client != nullptr) next = earlier(next, link->client->next_deadline());
    if (link->stalled) continue;
    if (!link->to_server.empty()) next = earlier(next, link->to_server.front().at);
    if (!link->to_client.empty()) next = earlier(next, link->to_client.front().at);
  }
  return next;
}

void TcpWire::deliver_due() {
  for (const auto& link : links_) {
    while (!link->stalled && !link->to_server.empty() && link->to_server.front().at <= now_) {
      Link::Segment segment = std::move(link->to_server.front());
      link->to_server.pop_front();
      deliver_to_server(*link, std::move(segment));
    }
    while (!link->stalled && !link->to_client.empty() && link->to_client.front().at <= now_) {
      Link::Segment segment = std::move(link->to_client.front());
      link->to_client.pop_front();
      deliver_to_client(*link, std::move(segment));
    }
    if (link->connection) flush_server(*link);  // there is room again
  }
}

void TcpWire::deliver_to_server(Link& link, Link::Segment segment) {
  if (segment.end) {
    if (link.connection) server_.handle_disconnected(now_, *link.connection, end_of_stream());
    return;
  }
  if (link.tap) link.tap(true, segment.bytes);
  for (ByteView rest = segment.bytes; !rest.empty() && !link.refused;) {
    const ByteView piece = rest.first(std::min(rest.size(), link.piece));
    rest = rest.subspan(piece.size());
    if (link.connection) {
      server_.handle_bytes(now_, *link.connection, piece);
      continue;
    }
    const auto connected = server_.handle_connected(now_, wall_now_, link.identity, piece);
    if (connected) {
      link.connection = *connected;
    } else {
      link.refused = connected.error();
      link.server_closed = true;
      send(link.to_client, link, {}, true);
    }
  }
}

void TcpWire::deliver_to_client(Link& link, Link::Segment segment) {
  if (link.client == nullptr) return;
  if (segment.end) {
    link.client->handle_disconnected(now_, end_of_stream());
    return;
  }
  if (link.tap) link.tap(false, segment.bytes);
  for (ByteView rest = segment.bytes; !rest.empty();) {
    const ByteView piece = rest.first(std::min(rest.size(), link.piece));
    rest = rest.subspan(piece.size());
    link.client->handle_bytes(now_, piece);
  }
}

}  // namespace natt::test
