// SPDX-License-Identifier: Apache-2.0
#include "src/relay/forwarding_table.h"

#include <openssl/siphash.h>

namespace natt::relay {

ForwardingTable::ForwardingTable(Random& random) : tag_key_{random.next_u64(), random.next_u64()} {}

std::uint32_t ForwardingTable::open_pair() {
  std::uint32_t session = static_cast<std::uint32_t>(legs_.size() / 2);
  if (free_sessions_.empty()) {
    legs_.resize(legs_.size() + 2);
  } else {
    session = free_sessions_.back();
    free_sessions_.pop_back();
  }
  open_leg(slot_of(session, RelaySide::kClient));
  open_leg(slot_of(session, RelaySide::kGateway));
  return session;
}

void ForwardingTable::open_leg(std::uint32_t slot) {
  const std::uint32_t generation = legs_[slot].generation + 1;
  std::array<std::uint8_t, 8> input{};
  store_be(input.data(), slot);
  store_be(input.data() + 4, generation);
  legs_[slot] = {};
  legs_[slot].generation = generation;
  legs_[slot].tag = SIPHASH_24(tag_key_.data(), input.data(), input.size());
  if (legs_[slot].tag == 0) legs_[slot].tag = 1;
}

void ForwardingTable::close_pair(std::uint32_t session) {
  for (const RelaySide side : {RelaySide::kClient, RelaySide::kGateway}) {
    ForwardingLeg& closed = leg(session, side);
    const std::uint32_t generation = closed.generation;
    closed = {};
    closed.generation = generation;
  }
  free_sessions_.push_back(session);
}

}  // namespace natt::relay
