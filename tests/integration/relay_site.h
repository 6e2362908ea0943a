// SPDX-License-Identifier: Apache-2.0
#pragma once

// A real broker and the signaling of a gateway and two clients on one loop over loopback: what
// relaying over TCP needs, without tunnels. Ports are the kernel's choice.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <natt/session_offer.h>
#include <natt/uv/broker.h>
#include <natt/uv/endpoint_driver.h>
#include <natt/uv/relay_join.h>
#include <natt/uv/site_signaling.h>

#include "integration/site_devices.h"
#include "integration/uv_loop.h"
#include "integration/watched_connection.h"

namespace natt::test {

// A device of the site: its socket and its signaling.
class RelayDevice final : public uv::SiteSignaling::Listener,
                          public uv::EndpointDriver::Listener,
                          public uv::RelayJoin::Listener {
 public:
  RelayDevice(UvLoop& loop, Random& random, Credentials own, const spa::KeyPair& key, const spa::SitePsk& psk,
              const SignedRoster& roster, std::uint64_t features = kFeatureRelayUdp | kFeatureRelayTcp);
  ~RelayDevice() override;

  [[nodiscard]] bool connected() const { return !signaling->connected().empty(); }
  void send(const SignalMessage& message);
  // Joins with the newest grant, or with that one.
  void join() { join(grants.back()); }
  void join(const RelayGrantMessage& grant);

  Credentials credentials;
  std::vector<RelayGrantMessage> grants;
  std::vector<RelayRefusal> refusals;
  std::vector<SessionId> accepted;  // of its own offers
  std::vector<SessionEnd> ends;
  std::vector<std::unique_ptr<uv::RelayJoin>> joins;
  std::vector<std::unique_ptr<WatchedConnection>> legs;
  std::vector<Error> failed;

 private:
  void on_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) override;
  void on_roster(Instant, const RosterChange&) override {}
  bool persist_roster(const SignedRoster&) override { return true; }
  bool admits_new_path(Instant, const SocketAddress&, ByteView) override { return false; }
  void on_tunnel_packet(Instant, PathId, std::uint8_t, ByteView) override {}
  void on_knock(Instant, const SocketAddress&, ByteView) override {}
  void on_endpoint_event(Instant, const EndpointEvent&) override {}
  void on_flush(Instant) override {}
  void on_relay_joined(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    legs.push_back(std::make_unique<WatchedConnection>(std::move(connection)));
  }
  void on_relay_join_failed(Instant, const Error& error) override { failed.push_back(error); }

  Random& random_;
  uv::SpaOwnKey key_;
  const spa::SitePsk& psk_;
  OfferVerifier offers_;
  std::unique_ptr<uv::EndpointDriver> driver_;

 public:
  std::unique_ptr<uv::SiteSignaling> signaling;  // before what it borrows goes
};

[[nodiscard]] inline uv::BrokerOptions in_mode(SpaMode mode) { return {.address = {}, .mode = mode, .relay_key = {}}; }

class RelaySite {
 public:
  explicit RelaySite(uv::BrokerOptions options = {},
                     std::uint64_t gateway_features = kFeatureRelayUdp | kFeatureRelayTcp);
  ~RelaySite();

  // A session between alice and the gateway, accepted by it.
  [[nodiscard]] SessionId open_session();
  // Asks for tokens; both ends have theirs afterwards.
  void request_relay(const SessionId& session);
  // Both, and waits until both ends have their connection and the broker has spliced them.
  void join_both();
  [[nodiscard]] WatchedConnection& client_leg() { return *alice->legs.back(); }
  [[nodiscard]] WatchedConnection& gateway_leg() { return *gateway->legs.back(); }
  // A relay join's first flight of a device, as bytes.
  [[nodiscard]] ByteBuffer make_flight(const Identity& identity, const std::array<std::uint8_t, 16>& token);
  // A bare connection to the broker that begins with `bytes`.
  [[nodiscard]] std::unique_ptr<WatchedConnection> connect_raw(ByteView bytes);
  // Lets happen what is under way.
  void settle() { static_cast<void>(loop.run_until([] { return false; }, 100)); }
  // Takes the device out of the roster, at the broker.
  void revoke(const Identity& identity);

  UvLoop loop;
  SystemRandom random;
  std::unique_ptr<uv::Broker> broker;
  std::unique_ptr<RelayDevice> gateway;
  std::unique_ptr<RelayDevice> alice;
  std::unique_ptr<RelayDevice> mallory;
  const Identity alice_identity{"hq", Role::kClient, "alice"};
  const Identity mallory_identity{"hq", Role::kClient, "mallory"};
  const Identity gateway_identity{"hq", Role::kGateway, "gw1"};
  SocketAddress broker_address;

 private:
  [[nodiscard]] std::unique_ptr<RelayDevice> open(const Identity& identity, std::uint64_t features);

  SiteDevices devices_;
};

}  // namespace natt::test
