// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which conversations a client of the IP tunnel has started, so that the gateway lets return
// traffic pass and nothing else. One table per client; bounded: when full, the flow that was
// silent for longest is forgotten (a client can only hurt itself). Resource class, no I/O.

#include <chrono>
#include <cstddef>
#include <list>
#include <unordered_map>

#include <natt/time.h>
#include <natt/tunnel/inner_packet.h>

namespace natt::tunnel {

struct FlowTimeouts {
  Duration tcp_established = std::chrono::minutes(124);  // RFC 5382 REQ-5: not below 2 hours 4 minutes
  Duration tcp_transitory = std::chrono::minutes(4);     // the same: handshake and after FIN or RST
  Duration udp = std::chrono::minutes(5);                // RFC 4787 REQ-5
  Duration icmp = std::chrono::seconds(60);              // RFC 5508 REQ-1
};

class FlowTable {
 public:
  // `capacity` at least 1. 4096 flows cost about 0.7 MB.
  explicit FlowTable(std::uint64_t hash_key, std::size_t capacity = 4096, FlowTimeouts timeouts = {});
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  // A packet from the client that policy has allowed. Of ICMP only an echo request opens a flow.
  void note_outgoing(Instant now, const InnerPacket& packet);
  // A packet towards the client: whether it belongs to a flow the client started, or is an
  // ICMP error that quotes a packet of one.
  [[nodiscard]] bool allows_return(Instant now, const InnerPacket& packet);
  // Whether the client's packet belongs to a flow it has open: policy was asked when that started. Never for ICMP
  // other than echo requests: an error carries no ports, so it would look like an echo with identifier 0.
  [[nodiscard]] bool knows(Instant now, const InnerPacket& packet) const;
  // After a policy change.
  void clear();
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  enum class TcpPhase : std::uint8_t { kOpening, kEstablished, kEnding };
  struct Entry {
    FlowKey flow;
    Instant last_seen;
    TcpPhase phase = TcpPhase::kOpening;
  };
  struct KeyedHash {
    std::uint64_t key;
    std::size_t operator()(const FlowKey& flow) const noexcept;
  };
  using Order = std::list<Entry>;

  [[nodiscard]] Duration timeout_of(const Entry& entry) const;
  [[nodiscard]] Order::iterator find_live(Instant now, const FlowKey& flow);
  void touch(Instant now, Order::iterator entry, const InnerPacket& packet);

  std::size_t capacity_;
  FlowTimeouts timeouts_;
  Order order_;  // most recently used first
  std::unordered_map<FlowKey, Order::iterator, KeyedHash> entries_;
};

}  // namespace natt::tunnel
