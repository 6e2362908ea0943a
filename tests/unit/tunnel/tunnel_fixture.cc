// SPDX-License-Identifier: Apache-2.0
#include "unit/tunnel/tunnel_fixture.h"

#include <cstdlib>
#include <utility>

namespace natt::test {
namespace {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

std::optional<tunnel::Admission> TokenGate::admit(Instant, const tunnel::InitialInfo& initial, PathId) {
  ++asked;
  const auto found = known.find({initial.token.begin(), initial.token.end()});
  if (found == known.end()) return std::nullopt;
  return found->second;
}

tunnel::Authority target(const char* text) { return tunnel::Authority::parse(text).value(); }

TunnelFixture::TunnelFixture(std::uint64_t seed, tunnel::ServerOptions options, Kind kind)
    : random(seed), pki("hq", 7), id_key(random), kind_(kind) {
  const char* const alpn = kind == Kind::kTls ? "h2" : "h3";
  tls = std::move(TlsContext::make(pki.credentials(Role::kGateway, "gw1"), TlsDirection::kServer, alpn).value());
  if (kind == Kind::kTls) {
    server = std::move(tunnel::TlsServer::make(*tls, options).value());
    wire = std::make_unique<TcpWire>(over_tls(), kTestNow);
  } else {
    server = std::move(tunnel::Server::make(*tls, gate, id_key, random, options).value());
    wire = std::make_unique<VirtualWire>(random, quic());
  }
  wire->on_step = [this] { step(); };
}

ClientSide& TunnelFixture::add_client() { return add_client(ClientSetup{}); }

ClientSide& TunnelFixture::add_client(const ClientSetup& setup) {
  ClientSide& side = *clients.emplace_back(std::make_unique<ClientSide>());
  TestPki& own = setup.pki != nullptr ? *setup.pki : pki;
  const char* const alpn = setup.alpn != nullptr ? setup.alpn : kind_ == Kind::kTls ? "h2" : "h3";
  side.tls = std::move(TlsContext::make(own.credentials(Role::kClient, setup.name), TlsDirection::kClient, alpn).value());
  const Identity spa = pki.identity(Role::kClient, setup.token_of.empty() ? setup.name : setup.token_of);
  if (kind_ == Kind::kTls) {
    add_tls(side, setup, spa);
  } else {
    add_quic(side, setup, spa);
  }
  return side;
}

void TunnelFixture::add_quic(ClientSide& side, const ClientSetup& setup, const Identity& spa) {
  tunnel::ClientOptions options;
  options.expectation = {"hq", Role::kGateway, pki.identity(Role::kGateway, setup.gateway)};
  random.fill(options.token);
  options.dcid.resize(16);
  options.scid.resize(8);
  random.fill(options.dcid);
  random.fill(options.scid);
  options.path = {++last_path_};
  options.transport = setup.transport;
  if (setup.known_token) {
    gate.known[{options.token.begin(), options.token.end()}] = {spa, {"hq", Role::kClient, spa}, kTestNow, {}};
  }
  side.core = std::move(tunnel::Client::make(wire->now(), kTestNow, *side.tls, random, options).value());
  packets().attach(side.quic(), options.path, setup.wire);
}

void TunnelFixture::add_tls(ClientSide& side, const ClientSetup& setup, const Identity& spa) {
  const tunnel::TlsClientOptions options{{"hq", Role::kGateway, pki.identity(Role::kGateway, setup.gateway)},
                                         setup.transport};
  side.core = std::move(tunnel::TlsClient::make(wire->now(), kTestNow, *side.tls, options).value());
  tcp().attach(side.over_tls(), spa, setup.wire.latency);
}

bool TunnelFixture::connect(ClientSide& client) {
  return wire->run_for(std::chrono::seconds(5), [&client] { return client.confirmed; });
}

PathId TunnelFixture::new_path(ClientSide& client, WirePath properties) {
  const PathId path{++last_path_};
  packets().join(client.quic(), path, properties);
  return path;
}

bool TunnelFixture::answered(ClientSide& client, tunnel::StreamId stream) {
  return wire->run_for(std::chrono::seconds(5), [&] { return client.streams[stream.number].status != 0; });
}

std::uint64_t TunnelFixture::living() const {
  return kind_ == Kind::kTls ? over_tls().stats().connections : quic().stats().connections;
}

std::uint64_t TunnelFixture::handshakes_failed() const {
  return kind_ == Kind::kTls ? over_tls().stats().handshakes_failed : quic().stats().handshakes_failed;
}

void TunnelFixture::destroy(ClientSide& client) {
  if (kind_ == Kind::kTls) {
    tcp().link(client.over_tls()).client = nullptr;
  } else {
    packets().detach(client.quic());
  }
  client.core.reset();
}

void TunnelFixture::silence(ClientSide& client) {
  if (kind_ == Kind::kTls) {
    tcp().link(client.over_tls()).stalled = true;
  } else {
    packets().path(client.quic().current_path()).black = true;
  }
}

// Twice: taking bytes may be what the end of a stream has waited for.
void TunnelFixture::step() {
  for (int round = 0; round < 2; ++round) {
    drain_server();
    for (const auto& client : clients) {
      if (client->core) client->drain_events();
    }
  }
}

void ClientSide::drain_events() {
  while (auto event = core->poll_event()) {
    std::visit(Overloaded{
                   [this](const tunnel::Connected& e) { connected = e.peer; },
                   [this](const tunnel::Confirmed&) { confirmed = true; },
                   [this](const tunnel::Response& e) {
                     streams[e.stream.number].status = e.status;
                     streams[e.stream.number].reason = e.reason;
                   },
                   [](const tunnel::Readable&) {},
                   [this](const tunnel::Writable& e) { streams[e.stream.number].writable = true; },
                   [this](const tunnel::Finished& e) { streams[e.stream.number].finished = true; },
                   [this](const tunnel::StreamReset& e) {
                     streams[e.stream.number].reset = true;
                     streams[e.stream.number].reset_code = e.code;
                   },
                   [this](const tunnel::StreamClosed& e) {
                     if (std::exchange(streams[e.stream.number].closed, true)) std::abort();  // exactly once
                   },
                   [this](const tunnel::CapsuleReceived& e) { streams[e.stream.number].capsules.push_back(e.capsule); },
                   [this](const tunnel::PathChanged& e) { paths.push_back(e.path); },
                   [this](const tunnel::PathFailed& e) { failed_paths.push_back(e.path); },
                   [this](const tunnel::ConnectionClosed& e) { closed = e.error; },
               },
               *event);
  }
  while (const auto datagram = core->poll_datagram()) {
    streams[datagram->stream.number].datagrams.emplace_back(datagram->payload.begin(), datagram->payload.end());
  }
  if (!reads) return;
  for (auto& [number, record] : streams) {
    for (ByteView bytes = core->peek({{}, number}); !bytes.empty(); bytes = core->peek({{}, number})) {
      record.bytes.insert(record.bytes.end(), bytes.begin(), bytes.end());
      core->consume({{}, number}, bytes.size());
    }
  }
}

void TunnelFixture::pull(tunnel::StreamId stream) {
  StreamRecord& record = streams[stream];
  for (ByteView bytes = server->peek(stream); !bytes.empty(); bytes = server->peek(stream)) {
    record.bytes.insert(record.bytes.end(), bytes.begin(), bytes.end());
    if (echoes) echo_backlog_[stream].insert(echo_backlog_[stream].end(), bytes.begin(), bytes.end());
    server->consume(stream, bytes.size());
  }
}

void TunnelFixture::drain_server() {
  while (auto event = server->poll_event()) {
    std::visit(Overloaded{
                   [this](const tunnel::ClientConnected& e) { connected.push_back(e); },
                   [this](const tunnel::Request& e) {
                     requests.push_back(e);
                     streams[e.stream];
                     if (accepts) server->accept(e.stream);
                   },
                   [](const tunnel::Readable&) {},
                   [this](const tunnel::Writable& e) { streams[e.stream].writable = true; },
                   [this](const tunnel::Finished& e) {
                     streams[e.stream].finished = true;
                     if (echoes && echo_backlog_[e.stream].empty()) server->shutdown_write(e.stream);
                   },
                   [this](const tunnel::StreamReset& e) {
                     streams[e.stream].reset = true;
                     streams[e.stream].reset_code = e.code;
                   },
                   [this](const tunnel::StreamClosed& e) {
                     if (std::exchange(streams[e.stream].closed, true)) std::abort();
                   },
                   [this](const tunnel::CapsuleReceived& e) { streams[e.stream].capsules.push_back(e.capsule); },
                   [this](const tunnel::PathChanged& e) { path_changes.push_back(e); },
                   [this](const tunnel::ClientDisconnected& e) { disconnected.push_back(e); },
               },
               *event);
  }
  while (const auto datagram = server->poll_datagram()) {
    streams[datagram->stream].datagrams.emplace_back(datagram->payload.begin(), datagram->payload.end());
  }
  for (auto& [stream, record] : streams) {
    if (reads && !record.closed) pull(stream);
    ByteBuffer& backlog = echo_backlog_[stream];
    const std::size_t sent = server->write(stream, backlog);
    backlog.erase(backlog.begin(), backlog.begin() + static_cast<std::ptrdiff_t>(sent));
    if (sent > 0 && backlog.empty() && record.finished) server->shutdown_write(stream);
  }
}

}  // namespace natt::test
