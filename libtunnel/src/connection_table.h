// SPDX-License-Identifier: Apache-2.0
#pragma once

// A server's connections, by number and by device. Resource type.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <natt/identity.h>
#include <natt/time.h>
#include <natt/token_bucket.h>

#include "src/quic/connection_ids.h"
#include "src/tunnel_connection.h"

namespace natt::tunnel {

struct ServerEntry {
  ConnectionId id;
  Identity identity;
  std::unique_ptr<ConnectionIds> ids;  // QUIC only; outlives the connection, which retires ids
  std::unique_ptr<TunnelConnection> connection;
  TokenBucket resets;
  std::optional<Instant> scheduled;  // in the server's list of deadlines
  bool ready = false;                // in the list of those that may have packets
  bool eventful = false;             // in the list of those that may have events
  bool announced = false;            // the application knows it
  bool established = false;          // counts among the device's tunnels
};

class ConnectionTable {
 public:
  // Connections are numbered from behind `last`.
  explicit ConnectionTable(std::uint64_t last) : last_id_(last) {}
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
  std::uint64_t last_id_;
};

}  // namespace natt::tunnel
