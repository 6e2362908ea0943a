// SPDX-License-Identifier: Apache-2.0
#include "src/quic/id_routes.h"

#include <algorithm>

namespace natt::tunnel {

IdRoutes::Key IdRoutes::Key::of(ByteView id) {
  Key key;
  const std::size_t size = std::min<std::size_t>(id.size(), key.octets.size() - 1);
  std::copy_n(id.begin(), size, key.octets.begin());
  key.octets.back() = static_cast<std::uint8_t>(id.size());
  return key;
}

std::size_t IdRoutes::Hash::operator()(const Key& id) const noexcept {
  std::uint64_t mixed = key;
  for (std::size_t i = 0; i < id.octets.size(); i += 8) {
    mixed = (mixed ^ load_be<std::uint64_t>(id.octets.data() + i)) * (key | 1);
    mixed ^= mixed >> 29;
  }
  return static_cast<std::size_t>(mixed);
}

ServerEntry* IdRoutes::find(ByteView id) const {
  const auto found = routes_.find(Key::of(id));
  return found == routes_.end() ? nullptr : found->second;
}

ServerIds::~ServerIds() {
  for (const ByteBuffer& id : own_) routes_.remove(id);
}

void ServerIds::add(ByteView id) {
  own_.emplace_back(id.begin(), id.end());
  routes_.add(id, entry_);
}

void ServerIds::issue(MutableBytes id) {
  const spa::ConnectionIdBytes made = key_.make(random_);
  std::copy_n(made.begin(), std::min(made.size(), id.size()), id.begin());
  add(id);
}

void ServerIds::retire(ByteView id) {
  const auto same = [id](const ByteBuffer& own) { return std::equal(own.begin(), own.end(), id.begin(), id.end()); };
  if (std::erase_if(own_, same) > 0) routes_.remove(id);
}

}  // namespace natt::tunnel
