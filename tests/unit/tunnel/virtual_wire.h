// SPDX-License-Identifier: Apache-2.0
#pragma once

// A wire between one tunnel server and some clients in virtual time: per path latency, jitter
// (hence reordering), loss, duplication and black-outs. Nothing sleeps. Paths have the same
// PathId on both ends.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <vector>

#include <natt/tunnel/client.h>
#include <natt/tunnel/server.h>

#include "support/seeded_random.h"
#include "unit/tunnel/wire.h"

namespace natt::test {

struct WirePath {
  Duration latency = std::chrono::milliseconds(10);  // one way
  Duration jitter{};
  double loss = 0;
  double duplication = 0;
  std::size_t mtu = 1472;
  bool black = false;
};

class VirtualWire final : public Wire {
 public:
  VirtualWire(Random& random, tunnel::Server& server) : random_(random), server_(server) {}

  // A client and the path it starts on; more paths with join().
  void attach(tunnel::Client& client, PathId path, WirePath properties = {});
  void join(tunnel::Client& client, PathId path, WirePath properties = {});
  void detach(tunnel::Client& client);
  [[nodiscard]] WirePath& path(PathId id) { return paths_.at(id).properties; }

  // Sees every packet before it is sent; may change it, false drops it.
  std::function<bool(bool to_server, PathId path, ByteBuffer& bytes)> tap;

  void flush() override;
  void inject_to_server(PathId path, ByteBuffer bytes) { schedule(true, path, std::move(bytes), now_); }
  void inject_to_client(PathId path, ByteBuffer bytes) { schedule(false, path, std::move(bytes), now_); }

 private:
  struct Path {
    tunnel::Client* client = nullptr;
    WirePath properties;
  };
  struct Packet {
    Instant at;
    std::uint64_t order = 0;
    bool to_server = false;
    PathId path;
    ByteBuffer bytes;
    bool operator>(const Packet& other) const { return std::pair{at, order} > std::pair{other.at, other.order}; }
  };

  void send(bool to_server, tunnel::PacketBatch& batch);
  void transmit(bool to_server, PathId path, ByteBuffer bytes);
  void schedule(bool to_server, PathId path, ByteBuffer bytes, Instant at);
  void deliver(const Packet& packet);
  void fire_timers() override;
  [[nodiscard]] std::optional<Instant> next_event() const override;
  void deliver_due() override;
  [[nodiscard]] bool chance(double probability);

  Random& random_;
  tunnel::Server& server_;
  std::vector<tunnel::Client*> clients_;
  std::map<PathId, Path> paths_;
  std::priority_queue<Packet, std::vector<Packet>, std::greater<>> queue_;
  std::uint64_t order_ = 0;
  std::unique_ptr<tunnel::PacketBatch> batch_ = std::make_unique<tunnel::PacketBatch>();
};

}  // namespace natt::test
