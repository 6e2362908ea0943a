// SPDX-License-Identifier: Apache-2.0
// docs/WIRE.md section 1.3: the order of the checks. Each failure is a silent drop
// with one counter; up to and including the AEAD none of them changes what the
// verifier remembers of a device, except that a forged tag is counted.
#include <natt/siphash.h>

#include "verifier_core.h"

namespace natt::spa {

void Verifier::Core::start(Lookup& lookup, FrameView frame) const {
  lookup.hint = hint_number(unmask_hint(frame, options_.mask));
  hints_.prefetch(lookup.hint);
}

bool Verifier::Core::locate(Lookup& lookup, Transport transport, FrameView frame) {
  lookup.hit = hints_.confirm(lookup.hint, lookup.hit);
  if (lookup.hit.credential == kNoCredential) {
    drop(DropReason::kUnknownHint);
    return false;
  }
  const SlotRecord& record = hints_.table(lookup.hit.table).record(lookup.hit.credential);
  if (!prefilter_matches(frame, transport, record.prefilter)) {
    drop(DropReason::kBadPrefilter);
    return false;
  }
  if (wiping_ && is_stale(lookup.hit.credential)) {
    drop(DropReason::kUnknownHint);
    return false;
  }
  return true;
}

void Verifier::Core::fetch(Lookup& lookup, FrameView frame) const {
  lookup.fingerprint = fingerprint(frame.first<kOpeningSize>());
  replays_[lookup.hit.table].prefetch(lookup.fingerprint);
}

void Verifier::Core::touch(const Lookup& lookup) const {
  devices_.touch(hints_.table(lookup.hit.table).record(lookup.hit.credential).device);
}

std::optional<Verifier::Core::Lookup> Verifier::Core::look_up(Transport transport, FrameView frame) {
  Lookup lookup;
  start(lookup, frame);
  guess(lookup);
  if (!locate(lookup, transport, frame)) return std::nullopt;
  touch(lookup);
  fetch(lookup, frame);
  return lookup;
}

Verifier::Core::Arrival Verifier::Core::arrival(Instant now, WallTime steady_now, Transport transport, FrameView frame,
                                                const KnockContext& context) const {
  const std::uint16_t port = transport == Transport::kQuicToken ? std::uint16_t{0} : context.port;
  return {now, steady_now, frame, {transport, id_, port, context.binding}, context.source, std::nullopt};
}

std::optional<Grant> Verifier::Core::judge(const Arrival& arrival, const Lookup& lookup) {
  const SlotRecord& record = hints_.table(lookup.hit.table).record(lookup.hit.credential);
  const Candidate candidate{arrival, lookup.hit, record, devices_.at(record.device), lookup.fingerprint};
  if (replays_[lookup.hit.table].contains(candidate.fingerprint)) return admit_repeat(candidate);
  return admit_fresh(candidate);
}

void Verifier::Core::verify_piece(Instant now, WallTime wall_now, std::span<const ArrivedFrame> frames,
                                  std::span<std::optional<Grant>> grants) {
  std::array<Lookup, kBatchPiece> lookups;
  std::array<bool, kBatchPiece> located{};
  for (std::size_t i = 0; i < frames.size(); ++i) start(lookups[i], frames[i].frame);
  for (std::size_t i = 0; i < frames.size(); ++i) guess(lookups[i]);
  for (std::size_t i = 0; i < frames.size(); ++i) located[i] = locate(lookups[i], frames[i].transport, frames[i].frame);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (located[i]) touch(lookups[i]);
  }
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (located[i]) fetch(lookups[i], frames[i].frame);
  }
  const WallTime steady_now = steady(now, wall_now);
  // One after the other: a copy within the piece is refused.
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const ArrivedFrame& arrived = frames[i];
    if (!located[i]) {
      grants[i].reset();
    } else {
      grants[i] = judge(arrival(now, steady_now, arrived.transport, arrived.frame, arrived.context), lookups[i]);
    }
  }
}

bool Verifier::Core::is_new_or_repeat(Instant now, const Lookup& lookup, std::uint64_t initial) {
  if (!replays_[lookup.hit.table].contains(lookup.fingerprint)) return true;
  if (verdicts_.find(now, lookup.fingerprint ^ initial)) return true;
  drop(DropReason::kReplayed);
  return false;
}

// A nonce that is known: for an Initial from the same source a retransmission, otherwise a replay.
std::optional<Grant> Verifier::Core::admit_repeat(const Candidate& candidate) {
  if (candidate.arrival.initial) {
    const auto body = verdicts_.find(candidate.arrival.now, candidate.fingerprint ^ *candidate.arrival.initial);
    if (body) return make_grant(candidate, *body, Novelty::kRetransmit);
  }
  drop(DropReason::kReplayed);
  return std::nullopt;
}

std::optional<Grant> Verifier::Core::admit_fresh(const Candidate& candidate) {
  const auto body = open(candidate);
  if (!body) return std::nullopt;
  auto reason = judge_body(candidate, *body);
  if (!reason) reason = remember(candidate, *body);
  if (reason) {
    drop(*reason);
    return std::nullopt;
  }
  const Arrival& arrival = candidate.arrival;
  const auto charge = candidate.device.knocks.charge(arrival.now, body->knock_id, budget_of(candidate.device.role));
  if (charge == KnockMeter::Charge::kRefused) {
    drop(DropReason::kOverBudget);
    return std::nullopt;
  }
  if (const auto refused = judge_claims(candidate, *body)) {
    drop(*refused);
    return std::nullopt;
  }
  if (arrival.initial) {
    verdicts_.insert(candidate.fingerprint ^ *arrival.initial, arrival.now + kVerdictLifetime, *body);
  }
  report_new_key(candidate);
  return make_grant(candidate, *body, charge == KnockMeter::Charge::kFresh ? Novelty::kFirst : Novelty::kSameKnock);
}

std::optional<FrameBody> Verifier::Core::open(const Candidate& candidate) {
  ForgeryMeter& forgeries = candidate.device.forgeries;
  const Instant now = candidate.arrival.now;
  if (forgeries.exhausted(now)) {
    drop(DropReason::kAeadBudget);
    return std::nullopt;
  }
  auto body = open_frame(candidate.arrival.frame, candidate.arrival.context, candidate.record.aead);
  if (!body) {
    forgeries.charge(now);
    drop(DropReason::kBadTag);
  }
  return body;
}

std::optional<DropReason> Verifier::Core::judge_body(const Candidate& candidate, const FrameBody& body) {
  if (body.version != 1) return DropReason::kBadVersion;
  if (body.type != FrameType::kKnock && body.type != FrameType::kClose && body.type != FrameType::kRelayJoin) {
    return DropReason::kBadType;
  }
  if (body.key_generation != candidate.record.generation) return DropReason::kWrongGeneration;
  if (std::chrono::abs(candidate.arrival.wall_now - body.timestamp) > kMaxSkew) return DropReason::kClockSkew;
  if (Slot::of(body.timestamp) != hints_.table(candidate.hit.table).slot()) return DropReason::kWrongSlot;
  if (options_.accept_from) {
    // By the clock as it stands now: one that was set since the start was wrong then.
    const auto ahead = std::chrono::ceil<std::chrono::milliseconds>(*options_.accept_from - candidate.arrival.now);
    if (body.timestamp < candidate.arrival.wall_now + ahead) return DropReason::kBeforeFloor;
  }
  if (hints_.revisited(candidate.hit.table) && body.timestamp <= floor_of(candidate.device)) {
    return DropReason::kBeforeFloor;
  }
  return std::nullopt;
}

// Before any grant: what is granted can never be granted again.
std::optional<DropReason> Verifier::Core::remember(const Candidate& candidate, const FrameBody& body) {
  const Slot slot = hints_.table(candidate.hit.table).slot();
  std::uint32_t& count = candidate.device.nonces.of(hints_.first(), slot);
  if (count >= nonces_of(candidate.device.role)) return DropReason::kReplaySetFull;
  if (!replays_[candidate.hit.table].insert(candidate.fingerprint)) return DropReason::kReplaySetFull;
  ++count;
  candidate.device.newest_accepted = std::max(candidate.device.newest_accepted, body.timestamp);
  if (options_.journal == nullptr) return std::nullopt;
  ReplayRecord record{slot, {}};
  std::copy_n(candidate.arrival.frame.begin(), kOpeningSize, record.opening.begin());
  if (!options_.journal->append(record)) return DropReason::kJournalFailed;
  return std::nullopt;
}

std::optional<DropReason> Verifier::Core::judge_claims(const Candidate& candidate, const FrameBody& body) const {
  const bool bound =
      (body.flags & kFlagAddressBound) != 0 && candidate.arrival.context.transport != Transport::kQuicToken;
  if (bound) {
    const auto key = credentials_.address_key(candidate.hit.credential, hints_.table(candidate.hit.table).slot());
    if (!constant_time_equal(make_address_tag(key, candidate.arrival.source), body.tag)) {
      return DropReason::kWrongAddress;
    }
  }
  if (!is_permitted(candidate.device.role)) return DropReason::kNotPermitted;
  return std::nullopt;
}

Grant Verifier::Core::make_grant(const Candidate& candidate, const FrameBody& body, Novelty novelty) {
  ++stats_.granted;
  if (novelty == Novelty::kRetransmit) ++stats_.retransmits;
  return {.identity = &candidate.device.identity,
          .device = candidate.device.id,
          .type = body.type,
          .flags = body.flags,
          .transport = candidate.arrival.context.transport,
          .knock_id = body.knock_id,
          .key_generation = body.key_generation,
          .timestamp = body.timestamp,
          .novelty = novelty};
}

void Verifier::Core::report_new_key(const Candidate& candidate) {
  Device& device = candidate.device;
  if (device.credential_count < 2) return;
  Credential& used = credentials_.at(candidate.hit.credential);
  if (own_ids_.size() > 1) note_own_key_use(device, used);
  if (used.use_reported || event_count_ == kMaxEvents) return;
  const std::size_t own_key = position_of(used.own_key);
  bool has_older = false;
  for (std::size_t i = 0; i < device.credential_count; ++i) {
    const Credential& other = credentials_.at(device.credentials[i]);
    // Own keys are listed newest first.
    has_older = has_older || other.generation < used.generation || position_of(other.own_key) > own_key;
  }
  if (!has_older) return;
  used.use_reported = true;
  events_[(event_first_ + event_count_) % kMaxEvents] = {device.id, used.generation, own_key};
  ++event_count_;
}

bool Verifier::Core::is_permitted(Role role) const {
  switch (role) {
    case Role::kBroker: return options_.admit_brokers;
    case Role::kGateway: return options_.admit_gateways;
    case Role::kClient: return options_.admit_clients;
  }
  return false;
}

const KnockBudget& Verifier::Core::budget_of(Role role) const {
  return role == Role::kClient ? options_.client_budget : options_.infrastructure_budget;
}

std::uint32_t Verifier::Core::nonces_of(Role role) const {
  return role == Role::kClient ? options_.client_nonces_per_slot : options_.infrastructure_nonces_per_slot;
}

// For a slot that comes again after the clock was set: its nonces of then are forgotten, but every frame among them
// has a timestamp up to the newest that was accepted before the clock was set.
WallTime Verifier::Core::floor_of(Device& device) const {
  if (device.clock_epoch != clock_epoch_) {
    device.floor = std::max(device.newest_accepted, newest_restored_);
    device.clock_epoch = clock_epoch_;
  }
  return device.floor;
}

std::uint64_t Verifier::Core::fingerprint(std::span<const std::uint8_t, kOpeningSize> opening) const {
  return siphash24(replay_key_.view(), opening);
}

std::uint64_t Verifier::Core::hash_initial(const QuicInitial& initial, const SocketAddress& source) const {
  // Address, port, then each connection ID with its length; 20 octets is the most that the parser lets through.
  std::array<std::uint8_t, 16 + 2 + 2 * 21> message{};
  auto out = std::copy(source.ip.octets().begin(), source.ip.octets().end(), message.begin());
  store_be(&*out, source.port);
  out += 2;
  for (const ByteView id : {initial.dcid, initial.scid}) {
    const std::size_t size = std::min<std::size_t>(id.size(), 20);
    *out++ = static_cast<std::uint8_t>(size);
    out = std::copy_n(id.begin(), size, out);
  }
  return siphash24(verdict_key_.view(), std::span(message.begin(), out));
}

}  // namespace natt::spa
