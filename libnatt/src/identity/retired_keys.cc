// SPDX-License-Identifier: Apache-2.0
#include <natt/retired_keys.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

namespace natt {
namespace {

// As many as rosters can list: a longer text is not ours.
constexpr std::size_t kMaxKeys = Roster::kMaxDevices * Roster::kMaxSpaKeys;

std::optional<std::array<std::uint8_t, 32>> parse_key(std::string_view text) {
  std::array<std::uint8_t, 32> key{};
  if (text.size() != 2 * key.size()) return std::nullopt;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const char* at = text.data() + 2 * i;
    if (std::from_chars(at, at + 2, key[i], 16).ptr != at + 2) return std::nullopt;
  }
  return key;
}

std::optional<std::pair<Identity, SpaPublicKey>> parse_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  const std::size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  auto device = Identity::parse(line.substr(0, first));
  const std::string_view number = line.substr(first + 1, second - first - 1);
  SpaPublicKey key;
  const auto [stop, failed] = std::from_chars(number.data(), number.data() + number.size(), key.generation);
  const auto octets = parse_key(line.substr(second + 1));
  if (!device || failed != std::errc{} || stop != number.data() + number.size() || !octets) return std::nullopt;
  key.key = *octets;
  return std::pair(std::move(*device), key);
}

}  // namespace

void RetiredKeys::add(const Identity& device, const SpaPublicKey& key) {
  std::vector<SpaPublicKey>& keys = keys_[device];
  const auto at = std::lower_bound(keys.begin(), keys.end(), key);
  if (at != keys.end() && *at == key) return;
  keys.insert(at, key);
  ++size_;
}

bool RetiredKeys::contains(const Identity& device, const SpaPublicKey& key) const {
  const auto found = keys_.find(device);
  return found != keys_.end() && std::binary_search(found->second.begin(), found->second.end(), key);
}

bool RetiredKeys::contains_key(const Identity& device, const std::array<std::uint8_t, 32>& key) const {
  const auto found = keys_.find(device);
  return found != keys_.end() && std::any_of(found->second.begin(), found->second.end(),
                                             [&key](const SpaPublicKey& retired) { return retired.key == key; });
}

std::vector<SpaPublicKey> RetiredKeys::usable(const RosterDevice& device) const {
  const auto found = keys_.find(device.identity);
  if (found == keys_.end()) return device.spa_keys;
  std::vector<SpaPublicKey> left;
  std::set_difference(device.spa_keys.begin(), device.spa_keys.end(), found->second.begin(), found->second.end(),
                      std::back_inserter(left));
  return left.empty() ? device.spa_keys : left;
}

void RetiredKeys::keep_listed(const RosterDevice& device) {
  const auto found = keys_.find(device.identity);
  if (found == keys_.end()) return;
  size_ -= std::erase_if(found->second, [&device](const SpaPublicKey& key) {
    return std::find(device.spa_keys.begin(), device.spa_keys.end(), key) == device.spa_keys.end();
  });
  if (found->second.empty()) keys_.erase(found);
}

void RetiredKeys::forget(const Identity& device) {
  const auto found = keys_.find(device);
  if (found == keys_.end()) return;
  size_ -= found->second.size();
  keys_.erase(found);
}

void RetiredKeys::prune(const Roster& roster) {
  for (auto entry = keys_.begin(); entry != keys_.end();) {
    const Identity device = (entry++)->first;
    if (const RosterDevice* listed = roster.find(device)) {
      keep_listed(*listed);
    } else {
      forget(device);
    }
  }
}

std::string RetiredKeys::line(const Identity& device, const SpaPublicKey& key) {
  std::string text = fmt::format("{} {} ", device.uri(), key.generation);
  for (const std::uint8_t octet : key.key) text += fmt::format("{:02x}", octet);
  return text + '\n';
}

std::string RetiredKeys::serialize() const {
  std::string text;
  for (const auto& [device, keys] : keys_) {
    for (const SpaPublicKey& key : keys) text += line(device, key);
  }
  return text;
}

Result<RetiredKeys> RetiredKeys::parse(std::string_view text) {
  RetiredKeys keys;
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    const auto entry = parse_line(text.substr(0, end));
    if (!entry || keys.size_ >= kMaxKeys) {
      return fail(Errc::kMalformed, fmt::format("line {} of the retired keys cannot be read", line));
    }
    keys.add(entry->first, entry->second);
    text.remove_prefix(end + 1);
  }
  return keys;
}

}  // namespace natt
