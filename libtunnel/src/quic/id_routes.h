// SPDX-License-Identifier: Apache-2.0
#pragma once

// The connection ids of a server, and the connections they lead to. Resource types.

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include <natt/bytes.h>
#include <natt/random.h>
#include <natt/spa/connection_id.h>

#include "src/connection_table.h"
#include "src/quic/connection_ids.h"

namespace natt::tunnel {

// Connection id -> connection. Keyed hash: clients choose the id of their first packets.
class IdRoutes {
 public:
  explicit IdRoutes(Random& random) : routes_(0, Hash{random.next_u64() | 1}) {}

  [[nodiscard]] ServerEntry* find(ByteView id) const;
  void add(ByteView id, ServerEntry& entry) { routes_[Key::of(id)] = &entry; }
  void remove(ByteView id) { routes_.erase(Key::of(id)); }

 private:
  struct Key {
    std::array<std::uint8_t, 24> octets{};  // up to 20, zeroes, and the size at the end
    [[nodiscard]] static Key of(ByteView id);
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::uint64_t key;
    std::size_t operator()(const Key& id) const noexcept;
  };
  std::unordered_map<Key, ServerEntry*, Hash> routes_;
};

// The ids of one connection: made with the server's key, routed while it lives.
class ServerIds final : public ConnectionIds {
 public:
  ServerIds(IdRoutes& routes, ServerEntry& entry, const spa::ConnectionIdKey& key, Random& random)
      : routes_(routes), entry_(entry), key_(key), random_(random) {}
  ~ServerIds() override;
  ServerIds(const ServerIds&) = delete;
  ServerIds& operator=(const ServerIds&) = delete;

  // The id that the client chose for its first packets.
  void add(ByteView id);
  void issue(MutableBytes id) override;
  void retire(ByteView id) override;

 private:
  IdRoutes& routes_;
  ServerEntry& entry_;
  const spa::ConnectionIdKey& key_;
  Random& random_;
  std::vector<ByteBuffer> own_;  // at most 8, those being retired and the client's
};

}  // namespace natt::tunnel
