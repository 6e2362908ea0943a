// SPDX-License-Identifier: Apache-2.0
#pragma once

// The state behind Verifier. Keeping the roster is in verifier_roster.cc, deciding
// about a frame in verifier_verdict.cc, slots and clock in verifier.cc.

#include <natt/spa/verifier.h>

#include "credential_table.h"
#include "device_table.h"
#include "hint_index.h"
#include "replay_set.h"
#include "steady_wall_clock.h"
#include "verdict_cache.h"

namespace natt::spa {

class Verifier::Core {
 public:
  Core(VerifierOptions options, Random& random);

  Result<void> put_device(const Identity& identity, std::span<const DeviceKey> keys);
  bool remove_device(const Identity& identity);
  [[nodiscard]] bool holds_device(const Identity& identity, std::span<const DeviceKey> keys) const;
  [[nodiscard]] const Identity* find_device(const DeviceId& id) const;
  bool keep_device_keys(const Identity& identity, std::span<const DeviceKey> keys);
  std::vector<DeviceKey> retire_device_keys(const DeviceId& id, std::uint16_t generation);
  void set_own_keys(std::vector<KeyPair> keys);
  void retire_older_own_keys();
  bool expect_devices(std::size_t clients, std::size_t infrastructure);

  // How one frame arrived, with all that the checks need.
  struct Arrival {
    Instant now;
    WallTime wall_now;
    FrameView frame;
    FrameContext context;
    IpAddress source;
    // Set for a QUIC Initial: 64 bits of connection IDs and source, under verdict_key_.
    std::optional<std::uint64_t> initial;
  };
  // A frame being looked up, in steps that each wait for memory that the one before asked for: done for many frames at
  // a time, their cache misses overlap.
  struct Lookup {
    std::uint64_t hint = 0;
    HintIndex::Hit hit;
    std::uint64_t fingerprint = 0;
  };
  void start(Lookup& lookup, FrameView frame) const;
  void guess(Lookup& lookup) const { lookup.hit = hints_.guess(lookup.hint); }
  // Hint and P, with their counters.
  [[nodiscard]] bool locate(Lookup& lookup, Transport transport, FrameView frame);
  // Asks for what judge() needs.
  void fetch(Lookup& lookup, FrameView frame) const;
  void touch(const Lookup& lookup) const;
  // All of them.
  [[nodiscard]] std::optional<Lookup> look_up(Transport transport, FrameView frame);
  [[nodiscard]] Arrival arrival(Instant now, WallTime steady_now, Transport transport, FrameView frame,
                                const KnockContext& context) const;
  [[nodiscard]] WallTime steady(Instant now, WallTime wall_now) { return wall_clock_.follow(now, wall_now); }
  // Frames whose lookups overlap: more than a core keeps cache misses in flight, few enough to stay in its first cache.
  static constexpr std::size_t kBatchPiece = 32;
  // At most kBatchPiece frames.
  void verify_piece(Instant now, WallTime wall_now, std::span<const ArrivedFrame> frames,
                    std::span<std::optional<Grant>> grants);
  // Everything after it.
  std::optional<Grant> judge(const Arrival& arrival, const Lookup& lookup);
  // For Initials: not seen before, or seen with this hash of source and connection ids. Counts a drop.
  [[nodiscard]] bool is_new_or_repeat(Instant now, const Lookup& lookup, std::uint64_t initial);
  [[nodiscard]] std::uint64_t hash_initial(const QuicInitial& initial, const SocketAddress& source) const;

  bool restore(WallTime wall_now, const ReplayRecord& record);
  void handle_timeout(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  std::optional<VerifierEvent> poll_event();
  [[nodiscard]] VerifierStats stats() const;
  [[nodiscard]] std::vector<PageMove> take_page_moves();
  [[nodiscard]] const DeviceId& id() const { return id_; }

 private:
  static constexpr std::size_t kOpeningSize = 20;

  // A frame on its way through the checks, after its hint and P were found right.
  struct Candidate {
    const Arrival& arrival;
    const HintIndex::Hit& hit;
    const SlotRecord& record;
    Device& device;
    std::uint64_t fingerprint;
  };
  void drop(DropReason reason) { ++stats_.drops[static_cast<std::size_t>(reason)]; }
  [[nodiscard]] std::optional<Grant> admit_repeat(const Candidate& candidate);
  [[nodiscard]] std::optional<Grant> admit_fresh(const Candidate& candidate);
  [[nodiscard]] std::optional<FrameBody> open(const Candidate& candidate);
  [[nodiscard]] std::optional<DropReason> judge_body(const Candidate& candidate, const FrameBody& body);
  [[nodiscard]] std::optional<DropReason> remember(const Candidate& candidate, const FrameBody& body);
  [[nodiscard]] std::optional<DropReason> judge_claims(const Candidate& candidate, const FrameBody& body) const;
  [[nodiscard]] Grant make_grant(const Candidate& candidate, const FrameBody& body, Novelty novelty);
  void report_new_key(const Candidate& candidate);

  [[nodiscard]] bool is_permitted(Role role) const;
  [[nodiscard]] const KnockBudget& budget_of(Role role) const;
  [[nodiscard]] std::uint32_t nonces_of(Role role) const;
  [[nodiscard]] WallTime floor_of(Device& device) const;
  // Of frame[0..19], nonce and masked hint: one device, one slot, one nonce.
  [[nodiscard]] std::uint64_t fingerprint(std::span<const std::uint8_t, kOpeningSize> opening) const;

  // A key that a device is to have: one that it has already, or a new one.
  struct PlannedKey {
    Credential credential;
    CredentialIndex existing = kNoCredential;
    PairKey pair;
  };
  [[nodiscard]] Result<std::vector<PlannedKey>> plan_keys(const Identity& identity, std::optional<DeviceIndex> known,
                                                          std::span<const DeviceKey> keys) const;
  [[nodiscard]] CredentialIndex existing_key(std::optional<DeviceIndex> known, const Credential& wanted) const;
  void apply_keys(DeviceIndex index, std::vector<PlannedKey>& planned);
  // Drops the device's credentials for which `goes` says so.
  template <typename Goes>
  void drop_credentials(Device& device, Goes goes);
  void drop_credential(CredentialIndex index);
  void grow_replay_sets(Role role);

  // Own keys are named by ids that a renewal does not shift; their order is that of `own_ids_`, newest first.
  static constexpr std::size_t kNoPosition = static_cast<std::size_t>(-1);
  [[nodiscard]] std::size_t position_of(OwnKeyId id) const;
  [[nodiscard]] OwnKeyId make_own_id();
  [[nodiscard]] bool is_stale(CredentialIndex index) const {
    return position_of(credentials_.at(index).own_key) == kNoPosition;
  }
  void wipe_stale_piece();
  void note_own_key_use(Device& device, const Credential& used);
  void follow_clock(WallTime wall_now);

  VerifierOptions options_;
  DeviceId id_;
  std::vector<OwnKeyId> own_ids_;  // of options_.keys
  OwnKeyId next_own_id_ = 0;
  // While keys of an own pair that went are wiped: the next credential to look at.
  std::optional<CredentialIndex> wiping_;
  std::uint16_t newest_epoch_ = 1;  // counts newest own keys
  std::size_t devices_on_newest_ = 0;
  Secret<16> replay_key_;
  Secret<16> verdict_key_;

  CredentialTable credentials_;
  DeviceTable devices_;
  HintIndex hints_;
  std::array<ReplaySet, HintIndex::kSlots> replays_;
  std::size_t nonces_wanted_ = 0;
  std::size_t nonces_expected_ = 0;
  VerdictCache verdicts_;

  SteadyWallClock wall_clock_;
  // Counts settings of the wall clock: each device's floor then rises to the newest frame it had accepted.
  std::uint32_t clock_epoch_ = 0;
  // The newest frame of any device that was removed: a device that comes back starts from it.
  WallTime newest_removed_{};
  // Later than every frame that was restored.
  WallTime newest_restored_{};

  // Bounded: a key use that finds it full is reported at its next use.
  static constexpr std::size_t kMaxEvents = 64;
  std::array<NewKeyUsed, kMaxEvents> events_{};
  std::size_t event_first_ = 0;
  std::size_t event_count_ = 0;

  std::optional<Instant> last_timeout_;
  VerifierStats stats_;
};

}  // namespace natt::spa
