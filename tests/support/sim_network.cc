// SPDX-License-Identifier: Apache-2.0
#include "support/sim_network.h"

#include <algorithm>

namespace natt::test {

SimNetwork::RealmId SimNetwork::add_nat(RealmId outer, NatBoxOptions options) {
  realms_.push_back({outer, std::make_unique<NatBox>(std::move(options), random_)});
  return realms_.size() - 1;
}

void SimNetwork::attach(RealmId realm, const SocketAddress& address, SimHost& host, SimLink link) {
  attachments_.push_back({realm, address, &host, link});
}

void SimNetwork::set_link(const SocketAddress& address, const SimLink& link) {
  for (Attachment& attachment : attachments_) {
    if (attachment.address == address) attachment.link = link;
  }
}

const SimNetwork::Attachment* SimNetwork::find(RealmId realm, const SocketAddress& address) const {
  const auto found = std::find_if(attachments_.begin(), attachments_.end(),
                                  [&](const Attachment& a) { return a.realm == realm && a.address == address; });
  return found == attachments_.end() ? nullptr : &*found;
}

std::optional<SimNetwork::RealmId> SimNetwork::realm_of_nat(RealmId outer, const IpAddress& outside) const {
  for (RealmId id = 1; id < realms_.size(); ++id) {
    if (realms_[id].outer == outer && realms_[id].nat->owns(outside)) return id;
  }
  return std::nullopt;
}

bool SimNetwork::is_in(RealmId realm, const IpAddress& ip) const {
  const auto here = [&](const Attachment& a) { return a.realm == realm && a.address.ip == ip; };
  return std::any_of(attachments_.begin(), attachments_.end(), here) || realm_of_nat(realm, ip).has_value();
}

bool SimNetwork::chance(double probability) {
  constexpr std::uint64_t kScale = 1'000'000;
  return static_cast<double>(random_.uniform(kScale)) < probability * static_cast<double>(kScale);
}

void SimNetwork::flush() {
  for (std::size_t i = 0; i < attachments_.size(); ++i) flush(*attachments_[i].host);
}

void SimNetwork::flush(SimHost& host) {
  const auto first =
      std::find_if(attachments_.begin(), attachments_.end(), [&](const Attachment& a) { return a.host == &host; });
  while (auto packet = host.poll_packet()) {
    const auto own = std::find_if(attachments_.begin(), attachments_.end(),
                                  [&](const Attachment& a) { return a.host == &host && a.address == packet->from; });
    const Attachment& sender = own != attachments_.end() ? *own : *first;
    packet->from = sender.address;
    send(sender, std::move(*packet));
  }
}

// Outward through the NATs until the destination's realm is reached.
void SimNetwork::send(const Attachment& sender, SimPacket packet) {
  ++stats_.sent;
  RealmId realm = sender.realm;
  while (!is_in(realm, packet.to.ip)) {
    if (realm == kInternet) {
      ++stats_.unroutable;
      return;
    }
    NatBox& box = *realms_[realm].nat;
    const bool to_itself = box.owns(packet.to.ip);
    packet = box.outbound(now_, std::move(packet));
    realm = realms_[realm].outer;
    if (to_itself && !box.hairpins()) {
      ++stats_.stopped_by_nat;
      return;
    }
  }
  schedule(sender, realm, packet);
}

void SimNetwork::schedule(const Attachment& sender, RealmId realm, const SimPacket& packet) {
  const SimLink& link = sender.link;
  if (packet.bytes.size() + 28 > link.mtu) {
    ++stats_.too_big;
    return;
  }
  const int copies = chance(link.duplication) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    if (chance(link.loss)) {
      ++stats_.lost;
      continue;
    }
    const auto jitter =
        static_cast<Duration::rep>(random_.uniform(static_cast<std::uint64_t>(link.jitter.count()) + 1));
    queue_.push({now_ + link.latency + Duration(jitter), order_++, realm, packet});
  }
}

// Inward through the NATs to the host. The receiver's share of the latency was taken with the sender's: both
// ends' links are meant to be alike in a test that cares.
void SimNetwork::deliver(RealmId realm, SimPacket packet) {
  while (const auto inside = realm_of_nat(realm, packet.to.ip)) {
    auto translated = realms_[*inside].nat->inbound(now_, std::move(packet));
    if (!translated) {
      ++stats_.stopped_by_nat;
      return;
    }
    packet = std::move(*translated);
    realm = *inside;
  }
  if (tap_) tap_(now_, packet);
  const Attachment* receiver = find(realm, packet.to);
  if (receiver == nullptr) {
    ++stats_.unroutable;
    return;
  }
  ++stats_.delivered;
  receiver->host->handle_datagram(now_, packet);
  flush(*receiver->host);
}

std::optional<Instant> SimNetwork::next_event() const {
  std::optional<Instant> next;
  if (!queue_.empty()) next = queue_.top().at;
  for (const Attachment& attachment : attachments_) next = earlier(next, attachment.host->next_deadline());
  return next;
}

void SimNetwork::step(Instant at) {
  now_ = std::max(now_, at);
  while (!queue_.empty() && queue_.top().at <= now_) {
    Event event = queue_.top();
    queue_.pop();
    deliver(event.realm, std::move(event.packet));
  }
  for (std::size_t i = 0; i < attachments_.size(); ++i) {
    SimHost& host = *attachments_[i].host;
    const auto deadline = host.next_deadline();
    if (!deadline || *deadline > now_) continue;
    host.handle_timeout(now_);
    flush(host);
  }
}

bool SimNetwork::run_until(Instant until, const std::function<bool()>& done) {
  flush();
  for (;;) {
    if (done && done()) return true;
    const auto next = next_event();
    if (!next || *next > until) break;
    step(*next);
  }
  now_ = std::max(now_, until);
  return done && done();
}

}  // namespace natt::test
