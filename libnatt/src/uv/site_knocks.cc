// SPDX-License-Identifier: Apache-2.0

// The UDP knocks that go with a device's connections to its brokers: those of signaling, and
// those of relay joins (natt/uv/site_signaling.h).

#include <natt/uv/site_signaling.h>

namespace natt::uv {

void SiteSignaling::send_knocks(Instant now) {
  for (const auto& broker : brokers_) {
    send_due_knocks(now, *broker, *broker->knocks, broker->link->address());
    for (const JoinKnock& join : broker->join_knocks) send_due_knocks(now, *broker, *join.knocks, join.to);
    std::erase_if(broker->join_knocks, [](const JoinKnock& join) { return !join.knocks->next_deadline(); });
  }
  rearm();
}

// From the socket of STUN and tunnel, so that a grant covers the address that they come from.
void SiteSignaling::send_due_knocks(Instant now, const Broker& broker, spa::KnockSchedule& knocks, SocketAddress to) {
  knocks.handle_timeout(now);
  while (auto knock = knocks.poll_transmit(wall_now())) {
    const std::uint16_t port = knock->carrier == spa::Transport::kDns ? broker.listed.dns_port : to.port;
    driver_.send(Transmit{.to = {to.ip, port}, .from = {}, .bytes = std::move(knock->datagram)});
  }
}

spa::KnockId SiteSignaling::start_join_knock(Instant now, Broker& broker, const SocketAddress& to) {
  if (broker.join_knocks.size() >= kMaxJoinKnocks) broker.join_knocks.pop_front();
  const auto ports = broker.listed.dns_port == 0 ? spa::KnockPorts::kServiceOnly : spa::KnockPorts::kServiceAndDns;
  JoinKnock& join = broker.join_knocks.emplace_back(
      JoinKnock{.knocks = std::make_unique<spa::KnockSchedule>(*broker.knocker, ports), .to = to});
  const spa::KnockId id = join.knocks->start(now);
  send_knocks(now);
  return id;
}

}  // namespace natt::uv
