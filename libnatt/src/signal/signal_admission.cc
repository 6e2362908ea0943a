// SPDX-License-Identifier: Apache-2.0
#include <natt/signal_admission.h>

#include <algorithm>
#include <deque>
#include <set>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include <natt/spa/tls_hello_carrier.h>
#include <natt/spa/verifier_group.h>

namespace natt {
namespace {

using spa::TlsHelloReader;

// A connection that has not proved itself. The reader is gone once it failed to.
struct Pending {
  std::unique_ptr<TlsHelloReader> reader;
  SocketAddress remote;
  Instant deadline;
};

using PendingTable = std::unordered_map<ChannelId, Pending>;

}  // namespace

struct SignalAdmission::Impl {
  Impl(SignalAdmissionOptions given, const spa::VerifierGroup& group, Random& randomness)
      : options(given), verifiers(group), random(randomness) {}

  [[nodiscard]] bool make_room();
  void set_deadline(ChannelId id, Pending& pending, Instant deadline);
  void forget(PendingTable::iterator at);
  void silence(Instant now, ChannelId id, Pending& pending, std::string_view reason);
  void read(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView bytes);
  void decide(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView rest);
  [[nodiscard]] std::optional<Admitted::Purpose> purpose_of(const spa::Grant& grant, ByteView record) const;
  void handle_due(Instant now, ChannelId id);

  SignalAdmissionOptions options;
  const spa::VerifierGroup& verifiers;
  Random& random;
  PendingTable pending;
  std::set<std::pair<Instant, ChannelId>> deadlines;
  std::set<std::pair<Instant, ChannelId>> silenced;  // those of `deadlines` that failed
  std::deque<AdmissionEvent> events;
  SignalAdmissionStats stats;
};

void SignalAdmission::Impl::set_deadline(ChannelId id, Pending& entry, Instant deadline) {
  deadlines.erase({entry.deadline, id});
  entry.deadline = deadline;
  deadlines.emplace(deadline, id);
}

void SignalAdmission::Impl::forget(PendingTable::iterator at) {
  deadlines.erase({at->second.deadline, at->first});
  silenced.erase({at->second.deadline, at->first});
  pending.erase(at);
}

// Drops the connection that failed and would be closed next, never one that may still prove itself.
bool SignalAdmission::Impl::make_room() {
  if (pending.size() < options.max_pending) return true;
  ++stats.overflow;
  if (silenced.empty()) return false;
  const ChannelId closing = silenced.begin()->second;
  forget(pending.find(closing));
  events.push_back(CloseConnection{closing});
  return true;
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

void SignalAdmission::Impl::read(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView bytes) {
  Pending& entry = at->second;
  while (!bytes.empty()) {
    bytes = bytes.subspan(entry.reader->handle_bytes(now, bytes));
    switch (entry.reader->state()) {
      case TlsHelloReader::State::kRecord1:
      case TlsHelloReader::State::kRecord2: break;
      case TlsHelloReader::State::kFrame:
        if (verifiers.plausible(spa::Transport::kTcp, entry.reader->frame())) break;
        ++stats.rejected_verdict;
        return silence(now, at->first, entry, "verdict");
      case TlsHelloReader::State::kComplete: return decide(now, wall_now, at, bytes);
      case TlsHelloReader::State::kFailed: ++stats.rejected_shape; return silence(now, at->first, entry, "shape");
    }
  }
}

std::optional<Admitted::Purpose> SignalAdmission::Impl::purpose_of(const spa::Grant& grant, ByteView record) const {
  const bool is_token = spa::parse_pairing_record(record).has_value();
  if (grant.type == spa::FrameType::kKnock && !is_token) return Admitted::Purpose::kSignaling;
  if (grant.type == spa::FrameType::kRelayJoin && is_token) return Admitted::Purpose::kRelayJoin;
  return std::nullopt;
}

void SignalAdmission::Impl::decide(Instant now, WallTime wall_now, PendingTable::iterator at, ByteView rest) {
  Pending& entry = at->second;
  const spa::KnockContext context{.port = options.port, .binding = entry.reader->binding(), .source = entry.remote.ip};
  const auto grant = verifiers.verify(now, wall_now, spa::Transport::kTcp, entry.reader->frame(), context);
  const auto purpose = grant ? purpose_of(*grant, entry.reader->record2()) : std::nullopt;
  if (!purpose) {
    ++stats.rejected_verdict;
    return silence(now, at->first, entry, "verdict");
  }
  ++stats.admitted;
  const ByteView record = entry.reader->record2();
  events.push_back(Admitted{.channel = at->first,
                            .purpose = *purpose,
                            .identity = *grant->identity,
                            .remote = entry.remote,
                            .record = ByteBuffer(record.begin(), record.end()),
                            .rest = ByteBuffer(rest.begin(), rest.end())});
  forget(at);
}

void SignalAdmission::Impl::handle_due(Instant now, ChannelId id) {
  const auto at = pending.find(id);
  if (at->second.reader) {
    ++stats.timed_out;
    return silence(now, id, at->second, "timeout");
  }
  forget(at);
  events.push_back(CloseConnection{id});
}

SignalAdmission::SignalAdmission(SignalAdmissionOptions options, const spa::VerifierGroup& verifiers, Random& random)
    : impl_(std::make_unique<Impl>(options, verifiers, random)) {}
SignalAdmission::~SignalAdmission() = default;

bool SignalAdmission::handle_accepted(Instant now, ChannelId channel, const SocketAddress& remote) {
  if (!impl_->make_room()) return false;
  Pending entry{std::make_unique<TlsHelloReader>(now), remote, now + impl_->options.record_timeout};
  impl_->deadlines.emplace(entry.deadline, channel);
  impl_->pending.emplace(channel, std::move(entry));
  ++impl_->stats.accepted;
  return true;
}

void SignalAdmission::handle_bytes(Instant now, WallTime wall_now, ChannelId channel, ByteView bytes) {
  const auto at = impl_->pending.find(channel);
  if (at == impl_->pending.end() || !at->second.reader) return;
  impl_->read(now, wall_now, at, bytes);
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

const SignalAdmissionStats& SignalAdmission::stats() const { return impl_->stats; }

}  // namespace natt
