// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/connection_id.h>

#include <natt/siphash.h>

namespace natt::spa {
namespace {

constexpr std::size_t kRandomSize = 8;

}  // namespace

ConnectionIdBytes ConnectionIdKey::make(Random& random) const {
  ConnectionIdBytes id{};
  random.fill(std::span(id).first<kRandomSize>());
  store_be(id.data() + kRandomSize, siphash24(key_.view(), std::span(id).first<kRandomSize>()));
  return id;
}

bool ConnectionIdKey::verify(ByteView connection_id) const {
  if (connection_id.size() != kConnectionIdSize) return false;
  std::array<std::uint8_t, 8> expected{};
  store_be(expected.data(), siphash24(key_.view(), connection_id.first<kRandomSize>()));
  return constant_time_equal(expected, connection_id.subspan(kRandomSize));
}

}  // namespace natt::spa
