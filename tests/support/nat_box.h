// SPDX-License-Identifier: Apache-2.0
#pragma once

// A NAT in the words of RFC 4787, for simulated networks: mapping and filtering each
// endpoint-independent, address-dependent or address-and-port-dependent; ports
// preserved or random; mapping timeout, hairpinning, several outside addresses,
// rebinding. Pure: packets and time in, translated packets out. Boxes can be stacked
// (carrier-grade NAT) by SimNetwork.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include <natt/address.h>
#include <natt/nat_behavior.h>
#include <natt/random.h>
#include <natt/time.h>

#include "support/sim_packet.h"

namespace natt::test {

enum class PortAllocation : std::uint8_t { kPreserve, kRandom };
// RFC 4787 section 4.1: whether one inside address keeps one outside address.
enum class Pooling : std::uint8_t { kPaired, kArbitrary };

struct NatBoxOptions {
  NatMapping mapping = NatMapping::kEndpointIndependent;
  NatFiltering filtering = NatFiltering::kAddressAndPortDependent;
  PortAllocation ports = PortAllocation::kRandom;
  Pooling pooling = Pooling::kPaired;
  std::vector<IpAddress> outside;
  Duration mapping_timeout = std::chrono::minutes(2);  // RFC 4787 REQ-5
  bool inbound_refreshes = false;                      // RFC 4787 REQ-6: "MAY"
  bool hairpin = false;
};

class NatBox {
 public:
  struct Stats {
    std::uint64_t translated_out = 0;
    std::uint64_t translated_in = 0;
    std::uint64_t dropped_no_mapping = 0;
    std::uint64_t dropped_filtered = 0;
  };

  NatBox(NatBoxOptions options, Random& random) : options_(std::move(options)), random_(random) {}
  NatBox(const NatBox&) = delete;
  NatBox& operator=(const NatBox&) = delete;

  [[nodiscard]] SimPacket outbound(Instant now, SimPacket packet);
  [[nodiscard]] std::optional<SimPacket> inbound(Instant now, SimPacket packet);
  [[nodiscard]] bool owns(const IpAddress& ip) const;
  [[nodiscard]] bool hairpins() const { return options_.hairpin; }
  [[nodiscard]] const NatBoxOptions& options() const { return options_; }

  // As after a restart or a new lease: every mapping is forgotten, the next ones get other ports.
  void rebind() { mappings_.clear(); }
  [[nodiscard]] std::size_t mapping_count() const { return mappings_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  // Destination parts that do not matter to the mapping behaviour are left at zero.
  struct Key {
    SocketAddress inside;
    IpAddress destination_ip;
    std::uint16_t destination_port = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Mapping {
    SocketAddress inside;
    SocketAddress outside;
    Instant used;
    std::set<SocketAddress> contacted;
  };

  [[nodiscard]] Key key_of(const SocketAddress& inside, const SocketAddress& destination) const;
  [[nodiscard]] SocketAddress allocate(const SocketAddress& inside);
  [[nodiscard]] bool is_taken(const SocketAddress& outside) const;
  [[nodiscard]] bool lets_in(const Mapping& mapping, const SocketAddress& source) const;
  void expire(Instant now);

  NatBoxOptions options_;
  Random& random_;
  std::map<Key, Mapping> mappings_;
  Stats stats_;
};

}  // namespace natt::test
