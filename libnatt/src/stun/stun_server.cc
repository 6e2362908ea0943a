// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_server.h>

#include <algorithm>
#include <array>
#include <chrono>

#include <natt/errc.h>
#include <natt/stun_builder.h>

namespace natt {
namespace {

constexpr std::size_t kMaxUsernameSize = 64;
// RFC 8489 section 6.2.1: Rc, how often a client sends one request.
constexpr std::uint32_t kMaxAnswers = 7;
// RFC 5780 section 7.2: two flags in the last octet.
constexpr std::uint32_t kChangeIp = 0x4;
constexpr std::uint32_t kChangePort = 0x2;

}  // namespace

void StunServer::set_transaction_key(StunTransactionKey key) {
  previous_key_ = std::move(options_.transaction_key);
  options_.transaction_key = std::move(key);
}

Result<void> StunServer::add_credential(const Identity& device, const StunCredential& credential) {
  if (credential.username.empty() || credential.username.size() > kMaxUsernameSize) {
    return fail(Errc::kMalformed, "a STUN username has 1 to 64 octets");
  }
  if (credentials_.contains(credential.username)) return fail(Errc::kMalformed, "the STUN username is in use");
  if (credentials_.size() >= options_.max_credentials) {
    return fail(Errc::kLimit, "the table of STUN credentials is full; raise its limit or remove devices");
  }
  Entry entry;
  entry.device = device;
  entry.password = credential.password;
  entry.tokens = options_.requests_per_second;
  credentials_.emplace(credential.username, std::move(entry));
  usernames_by_device_.emplace(device.uri(), credential.username);
  return {};
}

void StunServer::remove_credential(const std::string& username) {
  const auto entry = credentials_.find(username);
  if (entry == credentials_.end()) return;
  const auto [first, last] = usernames_by_device_.equal_range(entry->second.device.uri());
  const auto name = std::find_if(first, last, [&](const auto& item) { return item.second == username; });
  if (name != last) usernames_by_device_.erase(name);
  credentials_.erase(entry);
}

void StunServer::remove_device(const Identity& device) {
  const auto [first, last] = usernames_by_device_.equal_range(device.uri());
  for (auto name = first; name != last; ++name) credentials_.erase(name->second);
  usernames_by_device_.erase(first, last);
}

std::optional<StunReply> StunServer::handle_datagram(Instant now, WallTime wall_now, const SocketAddress& from,
                                                     const SocketAddress& local, ByteView bytes, MutableBytes out) {
  const auto message = StunMessage::parse(bytes);
  if (!message) {
    ++stats_.dropped_malformed;
    return std::nullopt;
  }
  if (message->message_class() != StunClass::kRequest || message->method() != kStunBinding) {
    ++stats_.dropped_not_a_request;
    return std::nullopt;
  }
  Entry* entry = authenticate(*message);
  if (entry == nullptr || !is_acceptable(now, wall_now, *message, from, *entry)) return std::nullopt;
  remember_source(now, *entry, from.ip);
  return answer(*message, *entry, from, local, out);
}

bool StunServer::has_known_tag(const StunTransactionId& id) const {
  return has_valid_tag(options_.transaction_key, id) || (previous_key_ && has_valid_tag(*previous_key_, id));
}

StunServer::Entry* StunServer::authenticate(const StunMessage& message) {
  if (!has_known_tag(message.transaction_id())) {
    ++stats_.dropped_bad_tag;
    return nullptr;
  }
  const auto username = message.text(StunAttribute::kUsername);
  const auto entry = username ? credentials_.find(*username) : credentials_.end();
  if (entry == credentials_.end()) {
    ++stats_.dropped_unknown_username;
    return nullptr;
  }
  if (!message.has_valid_fingerprint()) {
    ++stats_.dropped_bad_fingerprint;
    return nullptr;
  }
  if (!message.has_valid_integrity_sha256(entry->second.password.view())) {
    ++stats_.dropped_bad_integrity;
    return nullptr;
  }
  return &entry->second;
}

bool StunServer::is_acceptable(Instant now, WallTime wall_now, const StunMessage& message, const SocketAddress& from,
                               Entry& entry) {
  std::array<std::uint16_t, 1> unknown{};
  if (message.unknown_required(unknown) != 0) {
    ++stats_.dropped_unknown_attribute;
    return false;
  }
  if (!is_fresh(wall_now, message)) {
    ++stats_.dropped_stale;
    return false;
  }
  return admit(now, entry, transaction_nonce(message.transaction_id()), from);
}

bool StunServer::is_fresh(WallTime wall_now, const StunMessage& message) const {
  const auto claimed = message.number64(StunAttribute::kNattTime);
  if (!claimed) return false;
  const auto now = static_cast<std::uint64_t>(wall_now.time_since_epoch().count());
  const std::uint64_t difference = *claimed > now ? *claimed - now : now - *claimed;
  const auto allowed = std::chrono::duration_cast<std::chrono::milliseconds>(options_.max_clock_difference).count();
  return difference <= static_cast<std::uint64_t>(allowed);
}

bool StunServer::take_token(Instant now, Entry& entry) const {
  const double rate = options_.requests_per_second;
  const double elapsed = std::chrono::duration<double>(now - entry.refilled).count();
  entry.tokens = std::min(rate, entry.tokens + elapsed * rate);
  entry.refilled = now;
  if (entry.tokens < 1) return false;
  entry.tokens -= 1;
  return true;
}

StunServer::Answered* StunServer::find_answered(Instant now, Entry& entry, std::uint32_t nonce) const {
  // A request dated `max_clock_difference` ahead stays fresh for twice as long.
  const Duration window = 2 * options_.max_clock_difference;
  if (now - entry.window_started >= window) {
    entry.answered_before =
        now - entry.window_started < 2 * window ? std::move(entry.answered) : std::vector<Answered>{};
    entry.answered.clear();
    entry.window_started = now;
  }
  for (auto* list : {&entry.answered, &entry.answered_before}) {
    const auto known = std::find_if(list->begin(), list->end(), [&](const Answered& a) { return a.nonce == nonce; });
    if (known != list->end()) return &*known;
  }
  return nullptr;
}

// Only a request that was not seen before is charged: copies must not cost its owner its rate.
bool StunServer::admit(Instant now, Entry& entry, std::uint32_t nonce, const SocketAddress& from) {
  Answered* const known = find_answered(now, entry, nonce);
  if (known != nullptr && known->source != from) {
    ++stats_.dropped_replay;
    return false;
  }
  if (known != nullptr ? known->answers >= kMaxAnswers : !take_token(now, entry)) {
    ++stats_.dropped_rate;
    return false;
  }
  if (known != nullptr) {
    ++known->answers;
  } else {
    entry.answered.push_back({nonce, from, 1});
  }
  return true;
}

void StunServer::remember_source(Instant now, Entry& entry, const IpAddress& ip) {
  const auto older = [](const Seen& a, const Seen& b) { return a.at < b.at; };  // never seen comes first
  auto slot = std::find_if(entry.seen.begin(), entry.seen.end(), [&](const Seen& s) { return s.at && s.ip == ip; });
  if (slot == entry.seen.end()) slot = std::min_element(entry.seen.begin(), entry.seen.end(), older);
  *slot = {ip, now};
}

std::optional<SocketAddress> StunServer::other_address(const SocketAddress& local) const {
  if (!options_.primary_port || !options_.alternate_port) return std::nullopt;
  if (local.port == *options_.primary_port) return SocketAddress{local.ip, *options_.alternate_port};
  if (local.port == *options_.alternate_port) return SocketAddress{local.ip, *options_.primary_port};
  return std::nullopt;
}

// RFC 5780 section 6.1: the answer leaves from the other port; a change of IP is only possible with a second IP,
// which a broker has in the form of another broker.
std::optional<SocketAddress> StunServer::answer_source(const StunMessage& message, const SocketAddress& local) const {
  const auto attribute = message.find(StunAttribute::kChangeRequest);
  if (!attribute) return local;
  const auto flags = message.number32(StunAttribute::kChangeRequest);
  if (!flags || (*flags & kChangeIp) != 0) return std::nullopt;
  return (*flags & kChangePort) != 0 ? other_address(local) : local;
}

std::optional<StunReply> StunServer::answer(const StunMessage& message, const Entry& entry, const SocketAddress& from,
                                            const SocketAddress& local, MutableBytes out) {
  const auto source = answer_source(message, local);
  if (!source) {
    ++stats_.dropped_no_other_address;
    return std::nullopt;
  }
  StunBuilder builder(out, StunClass::kSuccess, kStunBinding, message.transaction_id());
  builder.add_xor_mapped_address(from);
  const auto other = other_address(local);
  const std::size_t address_size = local.ip.is_v4() ? 12 : 24;
  constexpr std::size_t kTrailer = 36 + 8;  // MESSAGE-INTEGRITY-SHA256, FINGERPRINT
  // RFC 5780 attributes for those whose question has room for them (NATT-FILL).
  if (other && builder.size() + 2 * address_size + kTrailer <= message.bytes().size()) {
    builder.add_address(StunAttribute::kResponseOrigin, *source);
    builder.add_address(StunAttribute::kOtherAddress, *other);
  }
  builder.add_integrity_sha256(entry.password.view());
  builder.add_fingerprint();
  const auto bytes = builder.finish();
  if (!bytes || bytes->size() > message.bytes().size()) {
    ++stats_.dropped_would_amplify;
    return std::nullopt;
  }
  ++stats_.answered;
  return StunReply{*source, from, *bytes};
}

std::vector<IpAddress> StunServer::seen_addresses(Instant now, const Identity& device) const {
  std::vector<Seen> seen;
  const auto [first, last] = usernames_by_device_.equal_range(device.uri());
  for (auto name = first; name != last; ++name) {
    const auto entry = credentials_.find(name->second);
    if (entry == credentials_.end()) continue;
    for (const Seen& s : entry->second.seen) {
      if (s.at && now - *s.at <= kSeenFor) seen.push_back(s);
    }
  }
  std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.at > b.at; });
  std::vector<IpAddress> addresses;
  for (const Seen& s : seen) {
    if (std::find(addresses.begin(), addresses.end(), s.ip) == addresses.end()) addresses.push_back(s.ip);
  }
  return addresses;
}

bool StunServer::was_seen(Instant now, const Identity& device, const IpAddress& ip) const {
  const auto seen = seen_addresses(now, device);
  return std::find(seen.begin(), seen.end(), ip) != seen.end();
}

}  // namespace natt
