// SPDX-License-Identifier: Apache-2.0
#include <natt/address_grants.h>

namespace natt {

void AddressGrants::on_knock(Instant now, const spa::Grant& grant, const SocketAddress& source) {
  forget_expired(now);
  const Key key{grant.device, source.ip};
  const auto known = grants_.find(key);
  if (grant.type == spa::FrameType::kClose && known != grants_.end()) return forget(known);
  if (grant.type != spa::FrameType::kKnock || (grant.flags & spa::kFlagTcpWanted) == 0) return;
  const Instant expires = now + options_.lifetime;
  // A repeat of the same knock brings no further uses, or repeating would lift the limit; unless a hello of another
  // knock of the device, which came just before, has taken what this one had opened.
  if (known != grants_.end() && known->second.knock_id == grant.knock_id &&
      known->second.redeemed_by.value_or(grant.knock_id) == grant.knock_id) {
    known->second.expires = expires;
  } else {
    if (known == grants_.end()) {
      make_room_of(grant.device);
      make_room();
    }
    grants_[key] = {.knock_id = grant.knock_id, .uses_left = options_.uses, .redeemed_by = {}, .expires = expires};
    expected_.emplace(source.ip, grant.device);
    ++stats_.granted;
  }
  expiry_.set(key, expires);
}

void AddressGrants::forget(Grants::iterator at) {
  expected_.erase({at->first.second, at->first.first});
  expiry_.set(at->first, std::nullopt);
  grants_.erase(at);
}

void AddressGrants::make_room() {
  if (grants_.size() < options_.max_grants) return;
  const auto first = expiry_.take_due(Instant::max());
  if (!first) return;
  forget(grants_.find(*first));
  ++stats_.evicted;
}

void AddressGrants::make_room_of(const spa::DeviceId& device) {
  std::size_t count = 0;
  Grants::iterator first = grants_.end();
  for (auto at = grants_.lower_bound({device, IpAddress{}}); at != grants_.end() && at->first.first == device; ++at) {
    ++count;
    if (first == grants_.end() || at->second.expires < first->second.expires) first = at;
  }
  if (count < options_.max_per_device) return;
  forget(first);
  ++stats_.evicted;
}

void AddressGrants::forget_expired(Instant now) {
  while (const auto ended = expiry_.take_due(now)) forget(grants_.find(*ended));
}

AddressGrants::Verdict AddressGrants::redeem(Instant now, const spa::Grant& hello, const IpAddress& source) {
  forget_expired(now);
  const auto found = grants_.find({hello.device, source});
  if (found == grants_.end()) {
    const bool elsewhere = other_source(now, hello.device, source).has_value();
    ++(elsewhere ? stats_.elsewhere : stats_.missing);
    return elsewhere ? Verdict::kElsewhere : Verdict::kMissing;
  }
  Entry& entry = found->second;
  const bool same_knock = !entry.redeemed_by || *entry.redeemed_by == hello.knock_id;
  if (entry.uses_left == 0 || !same_knock) {
    ++stats_.used_up;
    return Verdict::kUsedUp;
  }
  --entry.uses_left;
  entry.redeemed_by = hello.knock_id;
  expected_.erase({source, hello.device});
  ++stats_.redeemed;
  return Verdict::kGranted;
}

std::optional<IpAddress> AddressGrants::other_source(Instant now, const spa::DeviceId& device,
                                                     const IpAddress& source) const {
  for (auto at = grants_.lower_bound({device, IpAddress{}}); at != grants_.end() && at->first.first == device; ++at) {
    if (at->first.second != source && at->second.expires > now) return at->first.second;
  }
  return std::nullopt;
}

std::vector<IpAddress> AddressGrants::remove_device(const spa::DeviceId& device) {
  std::vector<IpAddress> sources;
  auto at = grants_.lower_bound({device, IpAddress{}});
  while (at != grants_.end() && at->first.first == device) {
    sources.push_back(at->first.second);
    forget(at++);
  }
  return sources;
}

bool AddressGrants::expects(Instant now, const IpAddress& source) const {
  for (auto at = expected_.lower_bound({source, {}}); at != expected_.end() && at->first == source; ++at) {
    const auto grant = grants_.find({at->second, source});
    if (grant->second.expires > now) return true;
  }
  return false;
}

}  // namespace natt
