// SPDX-License-Identifier: Apache-2.0
// The endpoint's STUN clients: one per broker and port, and what their answers say about
// our candidates.
#include <natt/endpoint.h>

#include <algorithm>
#include <set>

namespace natt {

void Endpoint::set_own_addresses(Instant now, std::vector<IpAddress> addresses, std::uint16_t port) {
  static_cast<void>(now);
  if (addresses == own_addresses_ && port == own_port_) return;
  own_addresses_ = std::move(addresses);
  own_port_ = port;
  punch_.policy().set_own_addresses(own_addresses_);
  std::vector<SocketAddress> own;
  for (const IpAddress& ip : own_addresses_) own.push_back({ip, own_port_});
  observer_.set_own_addresses(std::move(own));
  push(LocalCandidatesChanged{});
}

void Endpoint::set_configured_addresses(std::vector<SocketAddress> addresses) {
  configured_ = std::move(addresses);
  update_public_addresses();
}

void Endpoint::set_broker_addresses(std::vector<IpAddress> addresses) {
  punch_.policy().set_broker_addresses(std::move(addresses));
}

Result<void> Endpoint::set_stun(Instant now, WallTime wall_now, BrokerIndex broker, const StunCredential& credential,
                                const std::vector<SocketAddress>& servers) {
  std::erase_if(stun_, [&](const StunServerLink& link) {
    return link.broker == broker && std::find(servers.begin(), servers.end(), link.client->server()) == servers.end();
  });
  for (std::size_t i = 0; i < servers.size() && i < kMaxStunServersPerBroker; ++i) {
    const auto known = std::find_if(stun_.begin(), stun_.end(), [&](const StunServerLink& link) {
      return link.broker == broker && link.client->server() == servers[i];
    });
    if (known != stun_.end()) {
      known->client->set_credential(now, wall_now, credential);
      continue;
    }
    auto client = StunClient::make({.server = servers[i], .credential = credential,
                                    .keepalive_interval = options_.stun_keepalive, .log = options_.log},
                                   random_);
    if (!client) return tl::unexpected(client.error());
    (*client)->start(now, wall_now);
    stun_.push_back({broker, i == 0, std::move(*client)});
  }
  drain(now);
  return {};
}

void Endpoint::remove_stun(BrokerIndex broker) {
  for (const StunServerLink& link : stun_) {
    if (link.broker == broker) observer_.forget(link.client->server());
  }
  if (std::erase_if(stun_, [&](const StunServerLink& link) { return link.broker == broker; }) != 0) {
    update_public_addresses();
  }
}

void Endpoint::set_stun_keepalive(Instant now, Duration interval) {
  options_.stun_keepalive = interval;
  for (StunServerLink& link : stun_) link.client->set_keepalive_interval(now, interval);
}

bool Endpoint::handle_stun(Instant now, const SocketAddress& from, const IpAddress& local, ByteView bytes) {
  for (StunServerLink& link : stun_) {
    if (link.client->handle_datagram(now, from, local, bytes)) return true;
  }
  return punch_.handle_datagram(now, from, local, bytes);
}

void Endpoint::drain_stun(StunServerLink& link) {
  while (auto transmit = link.client->poll_transmit()) transmits_.push_back(std::move(*transmit));
  while (auto event = link.client->poll_event()) on_stun_event(link, *event);
}

void Endpoint::on_stun_event(const StunServerLink& link, const StunClientEvent& event) {
  if (const auto* failed = std::get_if<StunFailed>(&event)) {
    observer_.forget(link.client->server());
    if (link.primary) push(StunReport{link.broker, std::nullopt, failed->error});
  } else {
    const SocketAddress mapped = *link.client->mapped();
    observer_.observe(link.client->server(), mapped);
    if (link.primary) push(StunReport{link.broker, mapped, std::nullopt});
  }
  update_public_addresses();
}

void Endpoint::update_public_addresses() {
  std::vector<IpAddress> addresses;
  for (const auto& [broker, mapped] : mapped_addresses()) addresses.push_back(mapped.ip);
  for (const SocketAddress& configured : configured_) addresses.push_back(configured.ip);
  punch_.policy().set_public_addresses(std::move(addresses));
  push(LocalCandidatesChanged{});
}

std::vector<std::pair<BrokerIndex, SocketAddress>> Endpoint::mapped_addresses() const {
  std::vector<std::pair<BrokerIndex, SocketAddress>> addresses;
  for (const StunServerLink& link : stun_) {
    if (link.primary && link.client->mapped()) addresses.emplace_back(link.broker, *link.client->mapped());
  }
  return addresses;
}

UdpReach Endpoint::udp_reach() const {
  return {.nat = {.mapping = observer_.mapping()}, .stun_answered = !mapped_addresses().empty()};
}

std::vector<Candidate> Endpoint::local_candidates() const {
  std::vector<Candidate> all;
  for (const auto& [broker, mapped] : mapped_addresses()) {
    all.push_back({mapped, CandidateType::kServerReflexive, {}});
  }
  for (const SocketAddress& configured : configured_) all.push_back({configured, CandidateType::kMapped, {}});
  for (const IpAddress& ip : own_addresses_) all.push_back({{ip, own_port_}, CandidateType::kHost, {}});
  std::vector<Candidate> offered;
  std::set<SocketAddress> seen;
  // The policy is the agent's; it does not change by being asked.
  const CandidatePolicy& policy = const_cast<PunchAgent&>(punch_).policy();
  for (const Candidate& candidate : all) {
    if (policy.check_own(candidate) != CandidateVerdict::kAllowed) continue;
    if (offered.size() < kMaxCandidates && seen.insert(candidate.address).second) offered.push_back(candidate);
  }
  return offered;
}

}  // namespace natt
