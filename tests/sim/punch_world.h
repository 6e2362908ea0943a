// SPDX-License-Identifier: Apache-2.0
#pragma once

// Two ends that punch through simulated NATs, and the broker that they ask for their
// mappings. Signaling is the test itself: exchange() does what it would.

#include <memory>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include <natt/punch_agent.h>
#include <natt/stun_client.h>
#include <natt/stun_server.h>

#include "support/seeded_random.h"
#include "support/sim_network.h"

namespace natt::test {

inline constexpr WallTime kSimEpoch{std::chrono::milliseconds(1'800'000'000'000)};
[[nodiscard]] inline WallTime wall_of(Instant now) {
  return kSimEpoch + std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
}

// A broker's UDP socket with nothing but STUN on it.
class StunHost final : public SimHost {
 public:
  explicit StunHost(StunServerOptions options) : server_(std::move(options)) {}
  void handle_datagram(Instant now, const SimPacket& packet) override;
  void handle_timeout(Instant) override {}
  [[nodiscard]] std::optional<Instant> next_deadline() const override { return std::nullopt; }
  [[nodiscard]] std::optional<SimPacket> poll_packet() override;
  [[nodiscard]] StunServer& server() { return server_; }

 private:
  StunServer server_;
  std::vector<SimPacket> out_;
};

// One socket of a client or a gateway: a STUN client and a punch agent, demultiplexed as the real one is.
class PunchHost final : public SimHost {
 public:
  PunchHost(SocketAddress own, StunClientOptions stun, PunchOptions punch, Random& random);
  void handle_datagram(Instant now, const SimPacket& packet) override;
  void handle_timeout(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<SimPacket> poll_packet() override;

  [[nodiscard]] StunClient& stun() { return *stun_; }
  [[nodiscard]] PunchAgent& agent() { return agent_; }
  [[nodiscard]] const SocketAddress& own() const { return own_; }
  // A dead host neither hears nor speaks.
  void die() { dead_ = true; }

  template <typename Event>
  [[nodiscard]] std::vector<std::pair<Instant, Event>> events() const {
    std::vector<std::pair<Instant, Event>> found;
    for (const auto& [at, event] : punch_events_) {
      if (const auto* wanted = std::get_if<Event>(&event)) found.emplace_back(at, *wanted);
    }
    return found;
  }
  [[nodiscard]] std::vector<StunClientEvent>& stun_events() { return stun_events_; }

 private:
  void drain(Instant now);

  SocketAddress own_;
  std::unique_ptr<StunClient> stun_;
  PunchAgent agent_;
  std::vector<std::pair<Instant, PunchEvent>> punch_events_;
  std::vector<StunClientEvent> stun_events_;
  Instant last_now_{};
  bool dead_ = false;
};

// Takes every packet and says nothing.
class PacketCounter final : public SimHost {
 public:
  void handle_datagram(Instant, const SimPacket&) override {}
  void handle_timeout(Instant) override {}
  [[nodiscard]] std::optional<Instant> next_deadline() const override { return std::nullopt; }
  [[nodiscard]] std::optional<SimPacket> poll_packet() override { return std::nullopt; }
};

// What stands in front of an end; no NAT when mapping is kNone.
struct EndOptions {
  NatBehavior nat{NatMapping::kEndpointIndependent, NatFiltering::kAddressAndPortDependent};
  // A carrier-grade NAT in front of that NAT.
  std::optional<NatBehavior> carrier;
  SimLink link{};
};

class PunchWorld {
 public:
  static constexpr PunchSessionId kSession{7};

  explicit PunchWorld(std::uint64_t seed);

  void add_client(const EndOptions& options, PunchOptions punch = {});
  void add_gateway(const EndOptions& options, PunchOptions punch = {});
  void add_client_behind(SimNetwork::RealmId realm);
  void add_gateway_behind(SimNetwork::RealmId realm);
  // In the client's realm, as on one home network.
  void add_gateway_beside_client(PunchOptions punch = {});

  // Both ends ask the broker; true when both have a mapping.
  [[nodiscard]] bool discover();
  // Opens the session on both ends and tells each the other's candidates; the gateway starts `skew` later.
  void exchange(Duration skew = {});
  [[nodiscard]] PunchPath client_path() const;  // the first validated one
  [[nodiscard]] bool connected() const;         // both ends have a path

  SeededRandom random;
  SimNetwork network;
  StunHost broker;
  std::unique_ptr<PunchHost> client;
  std::unique_ptr<PunchHost> gateway;
  SimNetwork::RealmId client_realm = SimNetwork::kInternet;
  SimNetwork::RealmId gateway_realm = SimNetwork::kInternet;

 private:
  struct Site {
    std::string_view inside;   // the host behind a NAT
    std::string_view carrier;  // its NAT behind a carrier's
    std::string_view outside;  // the public address
    std::string_view name;
  };
  [[nodiscard]] std::unique_ptr<PunchHost> make_host(const Site& site, const EndOptions& options, PunchOptions punch,
                                                     SimNetwork::RealmId& realm);
  [[nodiscard]] std::unique_ptr<PunchHost> make_host_at(const SocketAddress& own, std::string_view name, Role role,
                                                        PunchOptions punch);
  void open_session(PunchHost& host, PunchRole role, const PunchCredential& local, const PunchCredential& remote,
                    const StunTransactionKey& key, Instant start, const PunchHost& peer);

  StunTransactionKey broker_key_;
};

}  // namespace natt::test
