// SPDX-License-Identifier: Apache-2.0
#pragma once

// A server's connections and the connection ids that lead to them. Resource types.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <natt/identity.h>
#include <natt/random.h>
#include <natt/spa/connection_id.h>
#include <natt/token_bucket.h>

#include "src/quic/connection.h"

namespace natt::tunnel {

struct ServerEntry;

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

struct ServerEntry {
  ConnectionId id;
  Identity identity;
  std::unique_ptr<ServerIds> ids;  // outlives the connection, which retires ids
  std::unique_ptr<Connection> connection;
  TokenBucket resets;
  std::optional<Instant> scheduled;  // in the server's list of deadlines
  bool ready = false;                // in the list of those that may have packets
  bool eventful = false;             // in the list of those that may have events
  bool announced = false;            // the application knows it
};

class ConnectionTable {
 public:
  ConnectionTable() = default;
  ConnectionTable(const ConnectionTable&) = delete;
  ConnectionTable& operator=(const ConnectionTable&) = delete;

  // An entry without connection and ids.
  ServerEntry& add(const Identity& identity, const TokenBucket& resets);
  [[nodiscard]] ServerEntry* find(ConnectionId id) const;
  void remove(ConnectionId id);

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  // Living connections of a device, in no order.
  [[nodiscard]] std::vector<ServerEntry*> of(const Identity& identity) const;
  [[nodiscard]] std::vector<ServerEntry*> all() const;

 private:
  std::unordered_map<std::uint64_t, std::unique_ptr<ServerEntry>> entries_;
  std::multimap<Identity, ServerEntry*> by_identity_;
  std::uint64_t last_id_ = 0;
};

}  // namespace natt::tunnel
