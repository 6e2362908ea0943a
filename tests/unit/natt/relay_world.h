// SPDX-License-Identifier: Apache-2.0
#pragma once

// A relay and the two ends of one session in memory: datagrams move when the test
// says so, time when it says so. Each end has an address that a test may change, as
// a NAT or a roaming phone does.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <natt/relay_leg.h>
#include <natt/relay_server.h>

#include "support/seeded_random.h"

namespace natt::test {

inline const Identity kAlice{"hq", Role::kClient, "alice"};
inline const Identity kBob{"hq", Role::kClient, "bob"};
inline const Identity kGateway{"hq", Role::kGateway, "gw1"};

[[nodiscard]] inline SocketAddress address(const std::string& text) { return SocketAddress::parse(text).value(); }

struct RelayEnd {
  RelayEnd(const RelayLeg::Options& options, RelayGrant grant, const std::string& at)
      : leg(options, std::move(grant)), source(address(at)) {}
  RelayLeg leg;
  SocketAddress source;
  std::vector<RelayLeg::Event> events;

  template <typename T>
  [[nodiscard]] std::vector<T> take() {
    std::vector<T> found;
    std::erase_if(events, [&](const RelayLeg::Event& event) {
      if (!std::holds_alternative<T>(event)) return false;
      found.push_back(std::get<T>(event));
      return true;
    });
    return found;
  }
};

class RelayWorld {
 public:
  explicit RelayWorld(RelayServerOptions server_options = {})
      : options(server_options),
        broker_key(std::span<const std::uint8_t, 32>(random.bytes<32>())),
        server(std::make_unique<RelayServer>(options, broker_key, random)) {}

  SeededRandom random{test_seed()};
  RelayServerOptions options;
  RelayKey broker_key;
  std::unique_ptr<RelayServer> server;
  Instant now{std::chrono::hours(1)};
  WallTime wall{std::chrono::milliseconds(1'700'000'000'000)};
  const SocketAddress relay = address("198.51.100.10:443");
  std::vector<RelayEnd*> ends;
  // What the relay has sent last, and the last frames it was given, for replays.
  std::vector<Transmit> replies;
  std::vector<std::pair<SocketAddress, ByteBuffer>> sent;
  std::function<bool(const Transmit&)> lose;

  [[nodiscard]] std::unique_ptr<RelayEnd> make_end(RelayGrant grant, const std::string& at) {
    auto end = std::make_unique<RelayEnd>(RelayLeg::Options{.relay = relay, .local = {}}, std::move(grant), at);
    ends.push_back(end.get());
    return end;
  }
  [[nodiscard]] RelayGrantPair grant(const Identity& client = kAlice,
                                     std::optional<RelaySessionId> session = std::nullopt) {
    auto pair = server->issue(client, kGateway, session, wall);
    REQUIRE(pair);
    return std::move(*pair);
  }

  // Gives the relay one datagram; true when it was forwarded.
  std::optional<RelayForward> give(const SocketAddress& from, ByteBuffer& datagram, std::size_t segment_size = 0) {
    MutableBytes train = datagram;
    return server->handle_train(now, wall, from, relay.ip, train, segment_size);
  }

  // Moves control frames until nobody has any left.
  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      for (RelayEnd* end : ends) moved = drain_end(*end) || moved;
      moved = drain_server() || moved;
    }
    for (RelayEnd* end : ends) {
      while (auto event = end->leg.poll_event()) end->events.push_back(*event);
    }
  }

  void pass(Duration duration) {
    const Instant until = now + duration;
    while (true) {
      const auto next = next_deadline();
      if (!next || *next > until) break;
      move_to(std::max(*next, now));
      for (RelayEnd* end : ends) end->leg.handle_timeout(now, wall);
      server->handle_timeout(now, wall);
      settle();
    }
    move_to(until);
  }

  void restart_server() { server = std::make_unique<RelayServer>(options, broker_key, random); }

 private:
  void move_to(Instant instant) {
    wall_rest_ += instant - now;
    const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(wall_rest_);
    wall += whole;
    wall_rest_ -= whole;
    now = instant;
  }
  [[nodiscard]] std::optional<Instant> next_deadline() const {
    auto next = server->next_deadline();
    for (const RelayEnd* end : ends) next = earlier(next, end->leg.next_deadline());
    return next;
  }
  bool drain_end(RelayEnd& end) {
    bool moved = false;
    while (auto transmit = end.leg.poll_transmit()) {
      moved = true;
      if (lose && lose(*transmit)) continue;
      sent.emplace_back(end.source, transmit->bytes);
      (void)give(end.source, transmit->bytes);
    }
    return moved;
  }
  bool drain_server() {
    bool moved = false;
    while (auto transmit = server->poll_transmit()) {
      moved = true;
      replies.push_back(*transmit);
      if (lose && lose(*transmit)) continue;
      for (RelayEnd* end : ends) {
        if (end->source == transmit->to) end->leg.handle_datagram(now, wall, relay, transmit->bytes);
      }
    }
    return moved;
  }
  Duration wall_rest_{};
};

// A session with both ends bound.
struct BoundSession {
  explicit BoundSession(RelayWorld& world, const Identity& who = kAlice,
                        const std::string& client_at = "203.0.113.1:4000",
                        const std::string& gateway_at = "192.0.2.2:5000") {
    RelayGrantPair pair = world.grant(who);
    client = world.make_end(std::move(pair.client), client_at);
    gateway = world.make_end(std::move(pair.gateway), gateway_at);
    client->leg.start(world.now, world.wall);
    gateway->leg.start(world.now, world.wall);
    world.settle();
    REQUIRE(client->leg.bound());
    REQUIRE(gateway->leg.bound());
  }
  std::unique_ptr<RelayEnd> client, gateway;
};

// `count` tunnel packets of `size` octets behind the leg's header, back to back.
[[nodiscard]] inline ByteBuffer make_train(const RelayLeg& leg, std::size_t size, std::size_t count) {
  ByteBuffer train;
  for (std::size_t i = 0; i < count; ++i) {
    train.insert(train.end(), leg.header().begin(), leg.header().end());
    train.insert(train.end(), size, static_cast<std::uint8_t>('a' + i));
  }
  return train;
}

// The control frames of a leg, made by hand.
[[nodiscard]] inline ByteBuffer make_bind(const RelayGrant& grant, std::uint64_t counter, WallTime time) {
  RelayControl control;
  control.header.kind = RelayKind::kBind;
  control.counter = counter;
  control.time = time;
  control.grant = grant.sealed;
  return serialize_relay_control(control, grant.key);
}

[[nodiscard]] inline ByteBuffer make_echo(const RelayGrant& grant, const RelayControl& challenge) {
  RelayControl control = challenge;
  control.header.kind = RelayKind::kEcho;
  return serialize_relay_control(control, grant.key);
}

}  // namespace natt::test
