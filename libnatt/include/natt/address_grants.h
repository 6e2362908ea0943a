// SPDX-License-Identifier: Apache-2.0
#pragma once

// What UDP knocks have opened for TCP in mode udp-tcp: for ten seconds, a few connections
// of the device that knocked, from the address it knocked from (SPA.md 1.4, T-IP). A grant
// is never enough by itself: each connection brings a valid TCP hello as well, and only
// such connections are counted, so a neighbour behind the same NAT uses nothing up.
//
// Sans-I/O. Resource type, one thread. Only authenticated knocks come here: memory is
// bounded by max_grants, and the grant that ends first makes room.
//
//   udp:  grants.on_knock(now, grant, from);
//   tcp:  if (grants.redeem(now, grant_of_the_hello, from.ip) == AddressGrants::Verdict::kGranted) ...

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <natt/address.h>
#include <natt/deadline_index.h>
#include <natt/knock_listener.h>
#include <natt/spa/device_id.h>
#include <natt/spa/verifier.h>
#include <natt/time.h>

namespace natt {

struct AddressGrantsOptions {
  // SPA.md 1.4: T-IP.
  Duration lifetime = std::chrono::seconds(10);
  std::uint32_t uses = 8;
  // 64 Ki devices that connect within the same ten seconds.
  std::size_t max_grants = 65'536;
  // Addresses that one device holds at a time; a further one takes the place of its own that ends first. Repeats of
  // one knock cost nothing, so without it a member could evict everybody else's grants.
  std::size_t max_per_device = 8;
};

struct AddressGrantsStats {
  std::uint64_t granted = 0;
  std::uint64_t redeemed = 0;
  std::uint64_t missing = 0;    // a valid hello whose device had not knocked
  std::uint64_t elsewhere = 0;  // ... had knocked from another address only: UDP and TCP leave apart
  std::uint64_t used_up = 0;    // more connections than a knock opens, or a second knock id after the first
  std::uint64_t evicted = 0;
};

class AddressGrants final : public KnockListener {
 public:
  enum class Verdict : std::uint8_t { kGranted, kMissing, kElsewhere, kUsedUp };

  explicit AddressGrants(AddressGrantsOptions options = {}) : options_(options) {}
  ~AddressGrants() override = default;
  AddressGrants(const AddressGrants&) = delete;
  AddressGrants& operator=(const AddressGrants&) = delete;

  // A knock that wants TCP opens, or prolongs what its knock id opened; one of type close takes it back.
  void on_knock(Instant now, const spa::Grant& grant, const SocketAddress& source) override;
  // For a connection whose hello was verified as `hello`. The first one consumes the grant: from then on it is for
  // hellos of the same knock id only, `uses` connections in all.
  [[nodiscard]] Verdict redeem(Instant now, const spa::Grant& hello, const IpAddress& source);
  // Whether somebody who knocked from there has still to come.
  [[nodiscard]] bool expects(Instant now, const IpAddress& source) const;
  // Where else the device holds a live grant: for the operator's eyes.
  [[nodiscard]] std::optional<IpAddress> other_source(Instant now, const spa::DeviceId& device,
                                                      const IpAddress& source) const;
  // Revocation. Where the device had knocked from.
  std::vector<IpAddress> remove_device(const spa::DeviceId& device);

  [[nodiscard]] std::size_t size() const { return grants_.size(); }
  [[nodiscard]] const AddressGrantsStats& stats() const { return stats_; }

 private:
  using Key = std::pair<spa::DeviceId, IpAddress>;
  struct Entry {
    std::uint16_t knock_id = 0;
    std::uint32_t uses_left = 0;
    std::optional<std::uint16_t> redeemed_by;  // knock id
    Instant expires{};
  };
  using Grants = std::map<Key, Entry>;
  void forget_expired(Instant now);
  void make_room();
  void make_room_of(const spa::DeviceId& device);
  void forget(Grants::iterator at);

  AddressGrantsOptions options_;
  Grants grants_;
  DeadlineIndex<Key> expiry_;
  std::set<std::pair<IpAddress, spa::DeviceId>> expected_;  // those of grants_ that nobody has redeemed
  AddressGrantsStats stats_;
};

}  // namespace natt
