// SPDX-License-Identifier: Apache-2.0
#include <natt/signal_admission.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <natt/spa/tls_hello_carrier.h>
#include <natt/spa/verifier_group.h>

namespace natt {
namespace {

using spa::TlsHelloReader;

// A valid hello that waits for its UDP knock. (Clients send nothing behind one for signaling before they are answered;
// what comes all the same is not kept.)
struct Held {
  spa::Grant grant;  // without its identity, which may go with the roster
  Admitted admitted;
};

// A connection that has not proved itself. The reader is gone once it failed to, or its hello is held.
struct Pending {
  std::unique_ptr<TlsHelloReader> reader;
  std::unique_ptr<Held> held;
  SocketAddress remote;
  Instant deadline;
};

using PendingTable = std::unordered_map<ChannelId, Pending>;
using Order = std::set<std::pair<Instant, ChannelId>>;

}  // namespace

struct SignalAdmission::Impl {
  Impl(SignalAdmissionOptions given, const spa::VerifierGroup& group, AddressGrants& udp_grants, Random& randomness)
      : options(given), verifiers(group), grants(udp_grants), random(randomness) {}

  [[nodiscard]] bool make_room();
  void set_deadline(ChannelId id, Pending& pending, Instant deadline);
  void forget(PendingTable::iterator at);
  void forget_held(ChannelId id, const Pending& pending);
  void drop_held(Instant now, ChannelId id, Pending& entry, std::string_view reason);
  void silence(Instant now, ChannelId id, Pending& pending, std::string_view reason);
  void read(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView bytes);
  void keep(Instant now, PendingTable::iterator at, ByteView bytes);
  void decide(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView rest);
  [[nodiscard]] std::optional<Admitted::Purpose> purpose_of(const spa::Grant& grant, ByteView record) const;
  [[nodiscard]] bool has_grant(Instant now, const spa::Grant& grant, const IpAddress& source);
  void admit(PendingTable::iterator at, Admitted admitted);
  void release_held(Instant now, const std::vector<ChannelId>& ids);
  void handle_due(Instant now, ChannelId id);

  SignalAdmissionOptions options;
  const spa::VerifierGroup& verifiers;
  AddressGrants& grants;
  Random& random;
  PendingTable pending;
  Order deadlines;
  Order silenced;  // those of `deadlines` that failed
  Order unproven;   // those that have shown no frame of a member yet: the ones that strangers fill the table with
  Order plausible;  // those that have shown a hint and P, which a copy of somebody's frame does as well
  std::multimap<std::pair<spa::DeviceId, IpAddress>, ChannelId> held;
  std::deque<AdmissionEvent> events;
  SignalAdmissionStats stats;
};

void SignalAdmission::Impl::set_deadline(ChannelId id, Pending& entry, Instant deadline) {
  deadlines.erase({entry.deadline, id});
  unproven.erase({entry.deadline, id});
  plausible.erase({entry.deadline, id});
  entry.deadline = deadline;
  deadlines.emplace(deadline, id);
}

void SignalAdmission::Impl::forget(PendingTable::iterator at) {
  const auto& [id, entry] = *at;
  deadlines.erase({entry.deadline, id});
  silenced.erase({entry.deadline, id});
  unproven.erase({entry.deadline, id});
  plausible.erase({entry.deadline, id});
  if (entry.held) forget_held(id, entry);
  pending.erase(at);
}

void SignalAdmission::Impl::forget_held(ChannelId id, const Pending& entry) {
  const auto [first, last] = held.equal_range({entry.held->grant.device, entry.remote.ip});
  const auto same = std::find_if(first, last, [id](const auto& each) { return each.second == id; });
  if (same != last) held.erase(same);
}

// Drops the connection that failed and would be closed next, else the oldest one without a member's frame, else the
// oldest one whose frame may be a copy: an honest one is decided a round trip after it was accepted, so a flood has to
// fill the table in that time.
bool SignalAdmission::Impl::make_room() {
  if (pending.size() < options.max_pending) return true;
  ++stats.overflow;
  for (const Order* order : {&silenced, &unproven, &plausible}) {
    if (order->empty()) continue;
    const ChannelId closing = order->begin()->second;
    forget(pending.find(closing));
    events.push_back(CloseConnection{closing, true});
    return true;
  }
  return false;
}

void SignalAdmission::Impl::silence(Instant now, ChannelId id, Pending& entry, std::string_view reason) {
  entry.reader.reset();
  const auto spread = static_cast<std::uint64_t>((options.silence_maximum - options.silence_minimum).count()) + 1;
  set_deadline(id, entry, now + options.silence_minimum + Duration(static_cast<std::int64_t>(random.uniform(spread))));
  silenced.emplace(entry.deadline, id);
  if (options.log.enabled(LogLevel::kDebug)) {
    options.log(LogLevel::kDebug,
                fmt::format("natt.admission.silenced remote={} reason={}", entry.remote.to_string(), reason));
  }
}

void SignalAdmission::Impl::drop_held(Instant now, ChannelId id, Pending& entry, std::string_view reason) {
  ++stats.rejected_knock;
  forget_held(id, entry);
  entry.held.reset();
  silence(now, id, entry, reason);
}

void SignalAdmission::Impl::read(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView bytes) {
  Pending& entry = at->second;
  while (!bytes.empty()) {
    bytes = bytes.subspan(entry.reader->handle_bytes(now, bytes));
    switch (entry.reader->state()) {
      case TlsHelloReader::State::kRecord1:
      case TlsHelloReader::State::kRecord2: break;
      case TlsHelloReader::State::kFrame:
        if (!verifiers.plausible(spa::Transport::kTcp, entry.reader->frame())) {
          ++stats.rejected_verdict;
          return silence(now, at->first, entry, "verdict");
        }
        unproven.erase({entry.deadline, at->first});
        plausible.emplace(entry.deadline, at->first);
        break;
      case TlsHelloReader::State::kComplete: return decide(now, wall_now, at, bytes);
      case TlsHelloReader::State::kFailed: ++stats.rejected_shape; return silence(now, at->first, entry, "shape");
    }
  }
}

void SignalAdmission::Impl::keep(Instant now, PendingTable::iterator at, ByteView bytes) {
  Admitted& admitted = at->second.held->admitted;
  if (admitted.purpose != Admitted::Purpose::kRelayJoin) return;
  if (admitted.rest.size() + bytes.size() > kMaxHeldBytes) return drop_held(now, at->first, at->second, "held");
  admitted.rest.insert(admitted.rest.end(), bytes.begin(), bytes.end());
}

std::optional<Admitted::Purpose> SignalAdmission::Impl::purpose_of(const spa::Grant& grant, ByteView record) const {
  const bool is_token = spa::parse_pairing_record(record).has_value();
  if (grant.type == spa::FrameType::kKnock && !is_token) return Admitted::Purpose::kSignaling;
  if (grant.type == spa::FrameType::kRelayJoin && is_token) return Admitted::Purpose::kRelayJoin;
  return std::nullopt;
}

bool SignalAdmission::Impl::has_grant(Instant now, const spa::Grant& grant, const IpAddress& source) {
  return !options.wants_knock || grants.redeem(now, grant, source) == AddressGrants::Verdict::kGranted;
}

void SignalAdmission::Impl::decide(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView rest) {
  Pending& entry = at->second;
  const spa::KnockContext context{.port = options.port, .binding = entry.reader->binding(), .source = entry.remote.ip};
  const auto grant = verifiers.verify(now, wall_now, spa::Transport::kTcp, entry.reader->frame(), context);
  const auto purpose = grant ? purpose_of(*grant, entry.reader->record2()) : std::nullopt;
  const bool admits = purpose && (options.policy == nullptr || options.policy->admits(*grant->identity, *purpose));
  if (!admits) {
    ++stats.rejected_verdict;
    return silence(now, at->first, entry, "verdict");
  }
  const ByteView record = entry.reader->record2();
  Admitted admitted{.channel = at->first,
                    .purpose = *purpose,
                    .identity = *grant->identity,
                    .remote = entry.remote,
                    .record = ByteBuffer(record.begin(), record.end()),
                    .rest = ByteBuffer(rest.begin(), rest.end())};
  if (has_grant(now, *grant, entry.remote.ip)) return admit(at, std::move(admitted));
  entry.held = std::make_unique<Held>(Held{*grant, std::move(admitted)});
  entry.held->grant.identity = nullptr;
  plausible.erase({entry.deadline, at->first});
  entry.reader.reset();
  held.emplace(std::pair{grant->device, entry.remote.ip}, at->first);
}

void SignalAdmission::Impl::admit(PendingTable::iterator at, Admitted admitted) {
  ++stats.admitted;
  events.push_back(std::move(admitted));
  forget(at);
}

void SignalAdmission::Impl::release_held(Instant now, const std::vector<ChannelId>& ids) {
  for (const ChannelId id : ids) {
    const auto at = pending.find(id);
    if (has_grant(now, at->second.held->grant, at->second.remote.ip)) admit(at, std::move(at->second.held->admitted));
  }
}

void SignalAdmission::Impl::handle_due(Instant now, ChannelId id) {
  const auto at = pending.find(id);
  Pending& entry = at->second;
  if (entry.held) {
    events.push_back(KnockMissing{entry.held->admitted.identity, entry.remote,
                                  grants.other_source(now, entry.held->grant.device, entry.remote.ip)});
    return drop_held(now, id, entry, "knock");
  }
  if (entry.reader) {
    ++stats.timed_out;
    return silence(now, id, entry, "timeout");
  }
  forget(at);
  events.push_back(CloseConnection{id, false});
}

SignalAdmission::SignalAdmission(SignalAdmissionOptions options, const spa::VerifierGroup& verifiers,
                                 AddressGrants& grants, Random& random)
    : impl_(std::make_unique<Impl>(options, verifiers, grants, random)) {}
SignalAdmission::~SignalAdmission() = default;

bool SignalAdmission::handle_accepted(Instant now, ChannelId channel, const SocketAddress& remote) {
  if (!impl_->make_room()) return false;
  Pending entry{std::make_unique<TlsHelloReader>(now), nullptr, remote, now + impl_->options.record_timeout};
  impl_->deadlines.emplace(entry.deadline, channel);
  impl_->unproven.emplace(entry.deadline, channel);
  impl_->pending.emplace(channel, std::move(entry));
  ++impl_->stats.accepted;
  return true;
}

void SignalAdmission::handle_bytes(Instant now, WallTime wall_now, ChannelId channel, ByteView bytes) {
  const auto at = impl_->pending.find(channel);
  if (at == impl_->pending.end()) return;
  if (at->second.reader) return impl_->read(now, wall_now, at, bytes);
  if (at->second.held) impl_->keep(now, at, bytes);
}

bool SignalAdmission::holds_join(ChannelId channel) const {
  const auto at = impl_->pending.find(channel);
  return at != impl_->pending.end() && at->second.held &&
         at->second.held->admitted.purpose == Admitted::Purpose::kRelayJoin;
}

void SignalAdmission::handle_knock(Instant now, const spa::DeviceId& device, const IpAddress& source) {
  std::vector<ChannelId> waiting;
  const auto [first, last] = impl_->held.equal_range({device, source});
  for (auto at = first; at != last; ++at) waiting.push_back(at->second);
  impl_->release_held(now, waiting);
}

void SignalAdmission::set_wants_knock(Instant now, bool wants_knock) {
  impl_->options.wants_knock = wants_knock;
  std::vector<ChannelId> waiting;
  for (const auto& [whose, id] : impl_->held) waiting.push_back(id);
  if (!wants_knock) impl_->release_held(now, waiting);
}

void SignalAdmission::remove_device(Instant now, const spa::DeviceId& device) {
  auto at = impl_->held.lower_bound({device, IpAddress{}});
  while (at != impl_->held.end() && at->first.first == device) {
    const ChannelId id = (at++)->second;
    impl_->drop_held(now, id, impl_->pending.at(id), "revoked");
  }
}

void SignalAdmission::handle_disconnected(ChannelId channel) {
  const auto at = impl_->pending.find(channel);
  if (at != impl_->pending.end()) impl_->forget(at);
}

void SignalAdmission::handle_timeout(Instant now) {
  while (!impl_->deadlines.empty() && impl_->deadlines.begin()->first <= now) {
    impl_->handle_due(now, impl_->deadlines.begin()->second);
  }
}

std::optional<Instant> SignalAdmission::next_deadline() const {
  if (impl_->deadlines.empty()) return std::nullopt;
  return impl_->deadlines.begin()->first;
}

std::optional<AdmissionEvent> SignalAdmission::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  AdmissionEvent event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return event;
}

SignalAdmissionStats SignalAdmission::stats() const {
  SignalAdmissionStats stats = impl_->stats;
  stats.pending = impl_->pending.size();
  stats.silenced = impl_->silenced.size();
  return stats;
}

}  // namespace natt
