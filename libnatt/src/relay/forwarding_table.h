// SPDX-License-Identifier: Apache-2.0
#pragma once

// What forwarding a packet needs and nothing else: one cache line per leg, the two
// legs of a session side by side, found by the slot in the frame without hashing.
//
// A leg's tag is SipHash-2-4 (key of this run) over slot and generation: 64 bits that
// nobody can guess, different for each use of a slot, and checkable without a table.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <natt/address.h>
#include <natt/random.h>
#include <natt/relay_wire.h>

namespace natt::relay {

// 64 octets, checked below.
struct alignas(64) ForwardingLeg {
  std::uint64_t tag = 0;  // 0 in a free slot; no leg's tag is 0
  std::uint64_t packets = 0;  // received from this leg and forwarded
  std::uint64_t bytes = 0;
  SocketAddress source;  // port 0: not bound
  std::uint32_t generation = 0;
  IpAddress local;  // where the leg sends to, and hears from

  [[nodiscard]] bool bound() const { return source.port != 0; }
};
static_assert(sizeof(ForwardingLeg) == 64);

class ForwardingTable {
 public:
  explicit ForwardingTable(Random& random);

  // A pair of unbound legs; returns the index of the session they belong to.
  [[nodiscard]] std::uint32_t open_pair();
  void close_pair(std::uint32_t session);

  [[nodiscard]] ForwardingLeg& leg(std::uint32_t session, RelaySide side) { return legs_[slot_of(session, side)]; }
  [[nodiscard]] const ForwardingLeg& leg(std::uint32_t session, RelaySide side) const {
    return legs_[slot_of(session, side)];
  }
  [[nodiscard]] RelayLegId id(std::uint32_t session, RelaySide side) const {
    return {slot_of(session, side), leg(session, side).tag};
  }
  // The slot of a leg that exists and has this tag.
  [[nodiscard]] std::optional<std::uint32_t> find(RelayLegId id) const {
    if (id.slot >= legs_.size() || id.tag == 0 || legs_[id.slot].tag != id.tag) return std::nullopt;
    return id.slot;
  }
  [[nodiscard]] ForwardingLeg& at(std::uint32_t slot) { return legs_[slot]; }

  [[nodiscard]] static std::uint32_t slot_of(std::uint32_t session, RelaySide side) {
    return session * 2 + static_cast<std::uint32_t>(side);
  }
  [[nodiscard]] static std::uint32_t session_of(std::uint32_t slot) { return slot / 2; }
  [[nodiscard]] static RelaySide side_of(std::uint32_t slot) { return static_cast<RelaySide>(slot % 2); }
  [[nodiscard]] static std::uint32_t peer_of(std::uint32_t slot) { return slot ^ 1; }

 private:
  void open_leg(std::uint32_t slot);

  std::array<std::uint64_t, 2> tag_key_;
  std::vector<ForwardingLeg> legs_;
  std::vector<std::uint32_t> free_sessions_;
};

}  // namespace natt::relay
