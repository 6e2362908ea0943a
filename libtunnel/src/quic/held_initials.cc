// SPDX-License-Identifier: Apache-2.0
#include "src/quic/held_initials.h"

#include <algorithm>
#include <utility>

namespace natt::tunnel {
namespace {

bool same(const ByteBuffer& a, ByteView b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

}  // namespace

bool HeldInitials::hold(Instant now, ByteView dcid, PathId path, std::uint8_t ecn, ByteView bytes) {
  expire(now);
  const auto held = std::count_if(packets_.begin(), packets_.end(),
                                  [dcid](const Packet& packet) { return same(packet.dcid, dcid); });
  if (packets_.size() == kMaxPackets || static_cast<std::size_t>(held) >= kMaxPerHandshake) return false;
  packets_.push_back({{dcid.begin(), dcid.end()}, path, ecn, {bytes.begin(), bytes.end()}, now + kLifetime});
  return true;
}

std::vector<HeldInitials::Packet> HeldInitials::take(Instant now, ByteView dcid) {
  expire(now);
  std::vector<Packet> taken;
  for (auto it = packets_.begin(); it != packets_.end();) {
    if (!same(it->dcid, dcid)) {
      ++it;
      continue;
    }
    taken.push_back(std::move(*it));
    it = packets_.erase(it);
  }
  return taken;
}

void HeldInitials::expire(Instant now) {
  while (!packets_.empty() && packets_.front().until <= now) packets_.pop_front();
}

}  // namespace natt::tunnel
