// SPDX-License-Identifier: Apache-2.0
#include <natt/own_keys.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

namespace natt {
namespace {

std::vector<spa::PublicKey> public_keys(const std::vector<spa::KeyPair>& pairs) {
  std::vector<spa::PublicKey> keys;
  for (const spa::KeyPair& pair : pairs) keys.push_back(pair.public_key());
  return keys;
}

template <typename Keys>
auto find_key(const Keys& listed, const spa::PublicKey& own) {
  return std::find_if(listed.begin(), listed.end(), [&own](const SpaPublicKey& key) { return key.key == own.bytes; });
}

}  // namespace

std::vector<spa::KeyPair> OwnKeys::without_retired(const Identity& self, std::vector<spa::KeyPair> pairs,
                                                   const RetiredKeys& retired) {
  while (pairs.size() > 1 && retired.contains_key(self, pairs.back().public_key().bytes)) pairs.pop_back();
  return pairs;
}

OwnKeys::OwnKeys(Identity self, const std::vector<spa::KeyPair>& pairs, spa::Verifier& verifier, RosterLoader& loader,
                 LogSink log)
    : self_(std::move(self)), verifier_(verifier), loader_(loader), log_(log), held_(public_keys(pairs)) {}

Result<void> OwnKeys::set(std::vector<spa::KeyPair> pairs) {
  pairs = without_retired(self_, std::move(pairs), loader_.retired());
  if (pairs.empty() || pairs.size() > spa::Verifier::kMaxOwnKeys) {
    return fail(Errc::kLimit, fmt::format("{} has to have one or two SPA keys", self_.uri()));
  }
  auto held = public_keys(pairs);
  if (held == held_) return {};
  held_ = std::move(held);
  verifier_.set_own_keys(std::move(pairs));
  loader_.restart();
  return {};
}

void OwnKeys::handle_roster(const Roster& roster) {
  const RosterDevice* self = roster.find(self_);
  listed_ = self == nullptr ? std::vector<SpaPublicKey>{} : self->spa_keys;
  if (self == nullptr || held_.size() < 2) return;
  const bool lists_newest = find_key(listed_, held_.front()) != listed_.end();
  const bool lists_older = find_key(listed_, held_.back()) != listed_.end();
  if (lists_newest && !lists_older) keep_newest("the roster dropped it");
}

void OwnKeys::retire_used() {
  if (held_.size() < 2 || !loader_.done()) return;
  const spa::VerifierStats stats = verifier_.stats();
  if (stats.devices == 0 || stats.devices_on_newest_key < stats.devices) return;
  keep_newest("every device has used the newer one");
}

void OwnKeys::keep_newest(std::string_view why) {
  verifier_.retire_older_own_keys();
  for (; held_.size() > 1; held_.pop_back()) {
    if (const auto listed = find_key(listed_, held_.back()); listed != listed_.end()) loader_.note_own_retired(*listed);
  }
  log_(LogLevel::kInfo, fmt::format("natt.spa.own_key_retired site={} reason=\"{}\"", self_.site, why));
}

std::optional<std::uint16_t> OwnKeys::missing_in(const Roster& roster) const {
  const RosterDevice* self = roster.find(self_);
  if (self == nullptr || self->spa_keys.empty()) return std::nullopt;
  const SpaPublicKey& newest = self->spa_keys.back();
  const bool held =
      std::any_of(held_.begin(), held_.end(), [&newest](const spa::PublicKey& own) { return own.bytes == newest.key; });
  return held ? std::nullopt : std::optional(newest.generation);
}

}  // namespace natt
