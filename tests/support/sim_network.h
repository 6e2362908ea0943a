// SPDX-License-Identifier: Apache-2.0
#pragma once

// A network in virtual time: hosts, links with latency, jitter (hence reordering),
// loss, duplication and an MTU, and NATs between address realms. Nothing sleeps; an
// hour takes as long as its packets. All chance comes from one Random, so a run can
// be repeated from its seed.
//
// A realm is a set of hosts that reach each other without translation. Realm 0 is the
// Internet; each NAT makes one more realm behind it, and a NAT may stand inside
// another one's realm. A packet crosses NATs outward when it is sent and inward when
// it arrives, so filters see the order of real time.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <vector>

#include <natt/random.h>
#include <natt/time.h>

#include "support/nat_box.h"
#include "support/sim_packet.h"

namespace natt::test {

// What runs on a simulated host. Not owned by the network; outlives it.
class SimHost {
 public:
  virtual ~SimHost() = default;
  virtual void handle_datagram(Instant now, const SimPacket& packet) = 0;
  virtual void handle_timeout(Instant now) = 0;
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const = 0;
  // `from` unspecified: the host's own address.
  [[nodiscard]] virtual std::optional<SimPacket> poll_packet() = 0;
};

struct SimLink {
  Duration latency = std::chrono::milliseconds(10);  // one way, this end's share
  Duration jitter{};                                 // uniformly added: reorders
  double loss = 0;
  double duplication = 0;
  std::size_t mtu = 1500;
};

class SimNetwork {
 public:
  using RealmId = std::size_t;
  static constexpr RealmId kInternet = 0;

  struct Stats {
    std::uint64_t sent = 0;
    std::uint64_t delivered = 0;
    std::uint64_t lost = 0;
    std::uint64_t too_big = 0;
    std::uint64_t unroutable = 0;
    std::uint64_t stopped_by_nat = 0;
  };

  explicit SimNetwork(Random& random) : random_(random), realms_(1) {}
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // A realm behind a NAT that stands in `outer`.
  RealmId add_nat(RealmId outer, NatBoxOptions options);
  [[nodiscard]] NatBox& nat(RealmId inside) { return *realms_.at(inside).nat; }
  // One host may have several addresses.
  void attach(RealmId realm, const SocketAddress& address, SimHost& host, SimLink link = {});
  void set_link(const SocketAddress& address, const SimLink& link);
  // Every packet as it arrives somewhere (after translation), for counting and traces.
  void set_tap(std::function<void(Instant, const SimPacket&)> tap) { tap_ = std::move(tap); }

  [[nodiscard]] Instant now() const { return now_; }
  // Drains what the hosts want to send now; to be called after acting on a host from outside.
  void flush();
  // Runs until `until`, or until `done` says so (looked at after each event). True when `done` did.
  bool run_until(Instant until, const std::function<bool()>& done = nullptr);
  bool run_for(Duration duration, const std::function<bool()>& done = nullptr) {
    return run_until(now_ + duration, done);
  }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  struct Attachment {
    RealmId realm;
    SocketAddress address;
    SimHost* host;
    SimLink link;
  };
  struct Realm {
    RealmId outer = kInternet;
    std::unique_ptr<NatBox> nat;  // to the outer realm; none for the Internet
  };
  struct Event {
    Instant at;
    std::uint64_t order;
    RealmId realm;  // where the packet is, on its way inward
    SimPacket packet;
    bool operator>(const Event& other) const { return std::pair{at, order} > std::pair{other.at, other.order}; }
  };

  void flush(SimHost& host);
  void send(const Attachment& sender, SimPacket packet);
  void schedule(const Attachment& sender, RealmId realm, const SimPacket& packet);
  void deliver(RealmId realm, SimPacket packet);
  [[nodiscard]] const Attachment* find(RealmId realm, const SocketAddress& address) const;
  [[nodiscard]] std::optional<RealmId> realm_of_nat(RealmId outer, const IpAddress& outside) const;
  [[nodiscard]] bool is_in(RealmId realm, const IpAddress& ip) const;
  [[nodiscard]] bool chance(double probability);
  [[nodiscard]] std::optional<Instant> next_event() const;
  void step(Instant at);

  Random& random_;
  Instant now_{};
  std::vector<Realm> realms_;
  std::vector<Attachment> attachments_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> queue_;
  std::uint64_t order_ = 0;
  std::function<void(Instant, const SimPacket&)> tap_;
  Stats stats_;
};

}  // namespace natt::test
