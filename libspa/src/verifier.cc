// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/verifier.h>

#include <natt/siphash.h>

#include <cstdlib>

#include "verifier_core.h"

namespace natt::spa {
namespace {

// While slots are prepared: a piece of 1 ms every 5 ms leaves the loop 80 %, and a million keys take 5 of the 8 s
// there are.
constexpr Duration kBuildInterval = std::chrono::milliseconds(5);
// Otherwise: how late a step of the wall clock is noticed. Slots themselves leave 8 s.
constexpr Duration kTickInterval = std::chrono::seconds(1);

}  // namespace

std::string_view to_string(DropReason reason) {
  switch (reason) {
    case DropReason::kUnknownHint: return "unknown_hint";
    case DropReason::kBadPrefilter: return "bad_prefilter";
    case DropReason::kReplayed: return "replayed";
    case DropReason::kAeadBudget: return "aead_budget";
    case DropReason::kBadTag: return "bad_tag";
    case DropReason::kBadVersion: return "bad_version";
    case DropReason::kBadType: return "bad_type";
    case DropReason::kWrongGeneration: return "wrong_generation";
    case DropReason::kClockSkew: return "clock_skew";
    case DropReason::kWrongSlot: return "wrong_slot";
    case DropReason::kBeforeFloor: return "before_floor";
    case DropReason::kReplaySetFull: return "replay_set_full";
    case DropReason::kJournalFailed: return "journal_failed";
    case DropReason::kOverBudget: return "over_budget";
    case DropReason::kWrongAddress: return "wrong_address";
    case DropReason::kNotPermitted: return "not_permitted";
  }
  return "unknown";
}

Verifier::Core::Core(VerifierOptions options, Random& random)
    : options_(std::move(options)),
      id_(DeviceId::of(options_.identity)),
      replay_key_(random.bytes<16>()),
      verdict_key_(random.bytes<16>()),
      hints_(credentials_, options_.hint_listener) {
  // A verifier without a key of its own, or with more than the tables hold, is a bug of the caller.
  if (options_.keys.empty() || options_.keys.size() > kMaxOwnKeys) std::abort();
  for (std::size_t i = 0; i < options_.keys.size(); ++i) own_ids_.push_back(make_own_id());
  for (const SlotRange& range : options_.lost_slots) hints_.note_lost(range);
  newest_restored_ = options_.newest_of_former;
  newest_removed_ = options_.newest_of_former;
  grow_replay_sets(Role::kClient);
}

bool Verifier::Core::restore(WallTime wall_now, const ReplayRecord& record) {
  follow_clock(wall_now);
  const auto table = hints_.table_of(record.slot);
  const std::uint64_t print = fingerprint(record.opening);
  // Device and timestamp were not kept: the end of the slot is later than the frame.
  const WallTime slot_end{kSlotLength * static_cast<std::int64_t>(record.slot.number + 1)};
  newest_restored_ = std::max(newest_restored_, slot_end);
  if (!table) {
    hints_.note_lost({record.slot, record.slot});
    return false;
  }
  ReplaySet& set = replays_[*table];
  if (set.contains(print) || set.insert(print)) return true;
  // Restored before the devices were put that its size comes from.
  set.reserve(2 * set.limit());
  return set.insert(print);
}

void Verifier::Core::handle_timeout(Instant now, WallTime wall_now) {
  const bool first = !last_timeout_.has_value();
  last_timeout_ = now;
  wall_now = steady(now, wall_now);
  follow_clock(wall_now);
  if (wiping_) return wipe_stale_piece();
  hints_.build_piece(wall_now);
  while (first && !hints_.complete()) hints_.build_piece(wall_now);
}

void Verifier::Core::follow_clock(WallTime wall_now) {
  const HintIndex::Advance advance = hints_.advance(wall_now);
  for (std::size_t i = 0; i < replays_.size(); ++i) {
    if (advance.replaced[i]) replays_[i].clear();
  }
  if (advance.stepped) ++clock_epoch_;
  if (advance.backwards) ++stats_.clock_steps_back;
}

std::optional<Instant> Verifier::Core::next_deadline() const {
  if (!last_timeout_) return Instant::min();
  return *last_timeout_ + (hints_.complete() && !wiping_ ? kTickInterval : kBuildInterval);
}

std::optional<VerifierEvent> Verifier::Core::poll_event() {
  if (event_count_ == 0) return std::nullopt;
  const NewKeyUsed event = events_[event_first_];
  event_first_ = (event_first_ + 1) % kMaxEvents;
  --event_count_;
  return event;
}

VerifierStats Verifier::Core::stats() const {
  VerifierStats stats = stats_;
  stats.devices = devices_.size();
  stats.keys = credentials_.size();
  stats.devices_on_newest_key = devices_on_newest_;
  stats.own_keys = options_.keys.size();
  for (const ReplaySet& set : replays_) stats.nonces += set.size();
  stats.keys_locked = credentials_.locked() && hints_.locked() &&
                      std::all_of(options_.keys.begin(), options_.keys.end(), [](auto& key) { return key.locked(); });
  return stats;
}

std::vector<PageMove> Verifier::Core::take_page_moves() {
  std::vector<PageMove> moves;
  credentials_.take_moves(moves);
  hints_.take_moves(moves);
  devices_.take_moves(moves);
  return moves;
}

Verifier::Verifier(VerifierOptions options, Random& random)
    : core_(std::make_unique<Core>(std::move(options), random)) {}
Verifier::~Verifier() = default;

Result<void> Verifier::put_device(const Identity& identity, std::span<const DeviceKey> keys) {
  return core_->put_device(identity, keys);
}

bool Verifier::remove_device(const Identity& identity) { return core_->remove_device(identity); }

bool Verifier::holds_device(const Identity& identity, std::span<const DeviceKey> keys) const {
  return core_->holds_device(identity, keys);
}

const Identity* Verifier::find_device(const DeviceId& device) const { return core_->find_device(device); }

bool Verifier::keep_device_keys(const Identity& identity, std::span<const DeviceKey> keys) {
  return core_->keep_device_keys(identity, keys);
}

std::vector<DeviceKey> Verifier::retire_device_keys(const DeviceId& device, std::uint16_t generation) {
  return core_->retire_device_keys(device, generation);
}

void Verifier::set_own_keys(std::vector<KeyPair> keys) { core_->set_own_keys(std::move(keys)); }

void Verifier::retire_older_own_keys() { core_->retire_older_own_keys(); }

bool Verifier::expect_devices(std::size_t clients, std::size_t infrastructure) {
  return core_->expect_devices(clients, infrastructure);
}

bool Verifier::plausible(Transport transport, FrameView frame) {
  return core_->look_up(transport, frame).has_value();
}

std::optional<Grant> Verifier::verify(Instant now, WallTime wall_now, Transport transport, FrameView frame,
                                      const KnockContext& context) {
  const auto lookup = core_->look_up(transport, frame);
  if (!lookup) return std::nullopt;
  return core_->judge(core_->arrival(now, core_->steady(now, wall_now), transport, frame, context), *lookup);
}

void Verifier::verify_batch(Instant now, WallTime wall_now, std::span<const ArrivedFrame> frames,
                            std::span<std::optional<Grant>> grants) {
  if (grants.size() != frames.size()) std::abort();
  for (std::size_t at = 0; at < frames.size(); at += Core::kBatchPiece) {
    const std::size_t count = std::min(Core::kBatchPiece, frames.size() - at);
    core_->verify_piece(now, wall_now, frames.subspan(at, count), grants.subspan(at, count));
  }
}

std::optional<Grant> Verifier::verify_initial(Instant now, WallTime wall_now, const QuicInitial& initial,
                                              const SocketAddress& source) {
  const auto lookup = core_->look_up(Transport::kQuicToken, initial.token);
  // Only what passes hint and P is worth the further hashes.
  if (!lookup) return std::nullopt;
  const FrameContext context{Transport::kQuicToken, core_->id(), 0,
                             ChannelBinding::of_connection_ids(initial.dcid, initial.scid)};
  return core_->judge({now, core_->steady(now, wall_now), initial.token, context, source.ip, core_->hash_initial(initial, source)}, *lookup);
}

bool Verifier::plausible_initial(Instant now, const QuicInitial& initial, const SocketAddress& source) {
  const auto lookup = core_->look_up(Transport::kQuicToken, initial.token);
  return lookup && core_->is_new_or_repeat(now, *lookup, core_->hash_initial(initial, source));
}

bool Verifier::restore(WallTime wall_now, const ReplayRecord& record) { return core_->restore(wall_now, record); }

void Verifier::handle_timeout(Instant now, WallTime wall_now) { core_->handle_timeout(now, wall_now); }
std::optional<Instant> Verifier::next_deadline() const { return core_->next_deadline(); }
std::optional<VerifierEvent> Verifier::poll_event() { return core_->poll_event(); }
VerifierStats Verifier::stats() const { return core_->stats(); }
std::vector<PageMove> Verifier::take_page_moves() { return core_->take_page_moves(); }

}  // namespace natt::spa
