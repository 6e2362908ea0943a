// SPDX-License-Identifier: Apache-2.0
#pragma once

// A broker's signaling and its clients and gateways in memory, on one virtual clock: what
// the drivers do with sockets, with vectors. One or more sites at one broker.
//
//   SignalWorld world({"hq"});
//   auto& gateway = world.connect(Role::kGateway, "gw1");
//   auto& alice = world.connect(Role::kClient, "alice");
//   REQUIRE(alice.saw<SignalConnected>());

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <natt/roster_store.h>
#include <natt/signal_admission.h>
#include <natt/signal_client.h>
#include <natt/signal_hub.h>
#include <natt/spa/keys.h>
#include <natt/spa/knocker.h>
#include <natt/spa/verifier_group.h>

#include "support/seeded_random.h"
#include "support/test_pki.h"

namespace natt::test {

template <typename Event, typename Events>
const Event* last_of(const Events& events) {
  const Event* found = nullptr;
  for (const auto& event : events) {
    if (const auto* match = std::get_if<Event>(&event)) found = match;
  }
  return found;
}

// One end of one TCP connection.
struct SignalPeer {
  Identity identity;
  std::unique_ptr<TlsContext> tls;
  std::unique_ptr<spa::Knocker> knocker;
  std::unique_ptr<SignalClient> client;
  ChannelId channel;
  bool attached = true;  // false: bytes of either direction are lost
  bool reads = true;     // false: what the broker sends waits at the broker
  std::vector<SignalEvent> events;

  template <typename Event>
  [[nodiscard]] const Event* saw() const {
    return last_of<Event>(events);
  }
  [[nodiscard]] bool is_open() const { return client->state() == SignalClient::State::kOpen; }
  // Why it ended; empty while it did not.
  [[nodiscard]] std::string end_reason() const {
    const auto* closed = saw<SignalClosed>();
    return closed == nullptr ? "" : closed->error.message;
  }
};

struct PeerOptions {
  // Other than the site would give it: the hostile cases.
  std::optional<Credentials> credentials;
  std::optional<Identity> spa_identity;
  std::uint64_t boot_id = 1;
  std::uint64_t roster_number = 0;
};

class SignalWorld : public SeenAddresses {
 public:
  explicit SignalWorld(std::vector<std::string> sites, SignalHubOptions hub = {});
  ~SignalWorld() override;

  [[nodiscard]] TestPki& pki(const std::string& site = "hq") { return *sites_.at(site).pki; }
  [[nodiscard]] RosterStore& store(const std::string& site = "hq") { return *sites_.at(site).store; }
  // Publishes a roster of the devices that the site's PKI has now.
  void publish(const std::string& site = "hq");
  void publish(const std::string& site, const Roster& roster);

  // Connects and runs until quiet. The peer lives as long as the world.
  SignalPeer& connect(Role role, const std::string& name, const PeerOptions& options = {},
                      const std::string& site = "hq");
  // As connect(), but nothing was exchanged yet.
  SignalPeer& prepare(Role role, const std::string& name, const PeerOptions& options = {},
                      const std::string& site = "hq");
  // Members need its word as well from now on. Before the first connection.
  void ask(const AdmissionPolicy& policy);
  // Opens the connection of a prepared peer with these first bytes.
  void open(SignalPeer& peer, ByteView first);
  // A connection without a SignalClient: what the broker sends collects in raw_output.
  [[nodiscard]] ChannelId open_raw(ByteView first);
  void feed(ChannelId channel, ByteView bytes);
  std::map<ChannelId, ByteBuffer> raw_output;
  // The peer's TCP connection breaks.
  void cut(SignalPeer& peer);

  // Carries bytes and events until nothing moves.
  void run();
  // Lets time pass in steps of `step`, timers included.
  void advance(Duration duration, Duration step = std::chrono::milliseconds(500));

  [[nodiscard]] std::vector<IpAddress> seen_addresses(Instant now, const Identity& device) const override;
  std::map<Identity, std::vector<IpAddress>> seen;

  Instant now{std::chrono::seconds(1000)};
  WallTime wall = kTestNow;
  // What the broker's clock shows more than everybody else's, once a channel is open.
  std::chrono::milliseconds broker_ahead{0};
  SeededRandom random{test_seed()};
  AddressGrants grants;
  std::unique_ptr<SignalAdmission> admission;
  std::unique_ptr<SignalHub> hub;
  std::vector<HubEvent> hub_events;
  std::set<ChannelId> refused;  // connections the broker closed
  std::vector<KnockMissing> knocks_missing;
  // Where the connections of peers come from.
  static inline const SocketAddress kPeerAddress = *SocketAddress::parse("203.0.113.5:40000");

 private:
  struct Site {
    std::unique_ptr<TestPki> pki;
    std::unique_ptr<RosterStore> store;
    std::unique_ptr<TlsContext> tls;
    std::unique_ptr<spa::Verifier> verifier;
    std::optional<spa::KeyPair> broker_keys;
    Secret<16> mask;
    spa::SitePsk psk;
    std::uint64_t number = 0;
  };
  void make_site(const std::string& name);
  bool step();
  bool step_admission();
  bool step_hub();
  bool step_peers();
  void deliver(ChannelId channel, ByteView bytes);
  void hand_over(ChannelId channel, const ByteBuffer& bytes);

  std::map<std::string, Site> sites_;
  spa::VerifierGroup verifiers_;
  std::vector<std::unique_ptr<SignalPeer>> peers_;
  std::map<ChannelId, SignalPeer*> by_channel_;
  std::set<ChannelId> admitted_;
  std::uint64_t next_channel_ = 1;
};

}  // namespace natt::test
