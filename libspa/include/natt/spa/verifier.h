// SPDX-License-Identifier: Apache-2.0
#pragma once

// The receiving side: decides about every frame that reaches one verifier identity
// (docs/WIRE.md section 1.3). A frame is either granted or dropped in silence with one
// counter; no check that is cheaper to forge than an AEAD tag changes any state.
//
// Sans-I/O core, one thread. `wall_now` is the host's calendar, however it jumps. One
// verifier identity has one Verifier: two with the same keys would not know each other's
// nonces. verify, verify_initial and plausible do not allocate; devices are added and
// slots prepared outside of them.
//
//   Verifier verifier(std::move(options), random);
//   for (device : roster) verifier.put_device(identity, keys);
//   verifier.handle_timeout(now, wall_now);                 // and again at next_deadline()
//   auto grant = verifier.verify(now, wall_now, Transport::kUdp, *frame, {.port = 443, .source = from.ip});

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include <natt/address.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/random.h>
#include <natt/spa/device_id.h>
#include <natt/spa/errc.h>
#include <natt/spa/frame.h>
#include <natt/spa/hint_listener.h>
#include <natt/spa/keys.h>
#include <natt/spa/page_move.h>
#include <natt/spa/quic_initial.h>
#include <natt/spa/replay_journal.h>
#include <natt/time.h>

namespace natt::spa {

// A public key of a device as the roster lists it.
struct DeviceKey {
  std::uint16_t generation = 0;
  PublicKey key;
};

// Fresh knock ids that a device may use: a token bucket.
struct KnockBudget {
  std::uint32_t per_second = 8;
  std::uint32_t burst = 32;
};

struct VerifierOptions {
  Identity identity;
  // This verifier's own pairs, newest first: after a renewal the old one stays until every device used the new.
  // 1 to kMaxOwnKeys; set_own_keys exchanges them later.
  std::vector<KeyPair> keys;
  SitePsk psk;
  MaskKey mask;

  // A client knocks when a person opens something: 8/s is beyond any use, 32 a whole profile of sites at once.
  KnockBudget client_budget{.per_second = 8, .burst = 32};
  // A gateway joins a relay leg per session and a broker restart brings all of them back at once.
  KnockBudget infrastructure_budget{.per_second = 1000, .burst = 4000};

  // Nonces remembered per device and slot; a device past it is refused until the slot is over. A client that spends
  // its whole budget on all carriers and repeats (32 + 8/s x 64 s, times 2 carriers) stays below.
  std::uint32_t client_nonces_per_slot = 2048;
  // For gateways and brokers: a quarter of what the smallest replay set and journal hold, so that no device can fill
  // them for the others.
  std::uint32_t infrastructure_nonces_per_slot = 12288;

  // More devices than this are refused by put_device.
  std::size_t max_devices = 1'000'000;

  // Frames made before this instant are refused, whatever the wall clock says then and now: a clock that is set
  // takes it along. Without a journal the nonces of before a restart are forgotten, and start + 60 s is later than any
  // frame of before; unset with a complete one. MappedJournal::brief fills in these three.
  std::optional<Instant> accept_from;
  // Slots in which former runs accepted frames whose nonces are gone: a frame of one has to be later than
  // `newest_of_former`, which is later than everything they accepted.
  std::vector<SlotRange> lost_slots;
  WallTime newest_of_former{};
  ReplayJournal* journal = nullptr;       // outlives the verifier
  HintListener* hint_listener = nullptr;  // outlives the verifier

  // Who may knock here at all, by Role.
  bool admit_brokers = true;
  bool admit_gateways = true;
  bool admit_clients = true;
};

// Why a frame was dropped, in the order of the checks.
enum class DropReason : std::uint8_t {
  kUnknownHint,   // no device of this verifier, or another slot: what strangers end in
  kBadPrefilter,  // the hint is known, P is not: a guess, another transport, or damage
  kReplayed,      // a copy of a frame that was accepted
  kAeadBudget,    // too many forged tags for this device; not opened
  kBadTag,        // P right, AEAD wrong: someone holds Q, or a frame for another port, channel or verifier
  kBadVersion,
  kBadType,
  kWrongGeneration,  // the body names another key generation than the key that opened it
  kClockSkew,        // more than 60 s from this verifier's clock
  kWrongSlot,        // timestamp and key belong to different slots
  kBeforeFloor,      // before accept_from, or in a slot that came again not after what was accepted then
  kReplaySetFull,    // the device or the verifier remembers as many nonces as it may
  kJournalFailed,
  kOverBudget,    // more fresh knock ids than the role may use
  kWrongAddress,  // bound to another source address
  kNotPermitted,  // the role may not knock here
};
inline constexpr std::size_t kDropReasonCount = 16;
[[nodiscard]] std::string_view to_string(DropReason reason);  // "unknown_hint", ... : stable names for metrics

struct VerifierStats {
  std::uint64_t granted = 0;      // frames, repeats included
  std::uint64_t retransmits = 0;  // of these, from the verdict cache
  std::array<std::uint64_t, kDropReasonCount> drops{};
  std::size_t devices = 0;
  std::size_t keys = 0;
  std::size_t nonces = 0;  // remembered in the slots that count
  // False when some key memory may reach swap (RLIMIT_MEMLOCK). Report it in health.
  bool keys_locked = true;
  std::uint64_t clock_steps_back = 0;
  // With several own keys: devices that have used the newest since it was there. When it equals `devices`, the older
  // ones can go.
  std::size_t devices_on_newest_key = 0;
  std::size_t own_keys = 0;

  [[nodiscard]] std::uint64_t dropped(DropReason reason) const { return drops[static_cast<std::size_t>(reason)]; }
};

// What is known about how a frame arrived.
struct KnockContext {
  std::uint16_t port = 0;  // the configured service port of the socket
  ChannelBinding binding;  // zero for UDP
  IpAddress source;
};

// One frame of a batch.
struct ArrivedFrame {
  Transport transport = Transport::kUdp;
  Frame frame{};
  KnockContext context;
};

enum class Novelty : std::uint8_t {
  kFirst,       // the first frame of its knock id
  kSameKnock,   // another carrier or repeat of a knock that was granted
  kRetransmit,  // the same QUIC Initial again, from the same source
};

struct Grant {
  // Never null; valid until the device is removed or the verifier destroyed.
  const Identity* identity = nullptr;
  DeviceId device;
  FrameType type = FrameType::kKnock;
  std::uint8_t flags = 0;
  Transport transport = Transport::kUdp;
  std::uint16_t knock_id = 0;
  std::uint16_t key_generation = 0;
  WallTime timestamp;  // by the device's clock
  Novelty novelty = Novelty::kFirst;
};

// A device used a key for the first time while it has older ones: those can be retired.
struct NewKeyUsed {
  DeviceId device;
  std::uint16_t generation = 0;  // of the device's key
  std::size_t own_key = 0;       // index into this verifier's own keys, newest first
};
using VerifierEvent = std::variant<NewKeyUsed>;

// Resource class. `random` outlives it.
class Verifier {
 public:
  static constexpr std::size_t kMaxOwnKeys = 2;
  // Public keys per device: the old one, the new one, and a renewal that was interrupted twice.
  static constexpr std::size_t kMaxDeviceKeys = 4;
  // |now - timestamp|, both directions: twice the clock error of a device that never heard of NTP for a month.
  static constexpr std::chrono::seconds kMaxSkew{60};

  Verifier(VerifierOptions options, Random& random);
  ~Verifier();
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  // Adds a device or replaces the keys of a known one; keys it had before are kept as they are. One X25519 per new
  // key (about 40 us). On an error nothing changed. A device added before the first handle_timeout can knock after it.
  [[nodiscard]] Result<void> put_device(const Identity& identity, std::span<const DeviceKey> keys);
  // Whether put_device with these keys would change nothing. Cheap (about 1 us).
  [[nodiscard]] bool holds_device(const Identity& identity, std::span<const DeviceKey> keys) const;
  // Null when unknown; valid until the device is removed.
  [[nodiscard]] const Identity* find_device(const DeviceId& device) const;
  // Drops the keys of a known device that are not among `keys`, effective at once, and derives nothing: a roster that
  // takes a key away takes effect before the keys that it brings are ready. False when the device is unknown.
  bool keep_device_keys(const Identity& identity, std::span<const DeviceKey> keys);
  // After NewKeyUsed: drops the device's keys of generations below `generation`, effective at once. Returns what was
  // dropped; nothing when the device would have no key left.
  std::vector<DeviceKey> retire_device_keys(const DeviceId& device, std::uint16_t generation);
  // Exchanges this verifier's own pairs, newest first, 1 to kMaxOwnKeys. Knocks for a pair that stays go on. Those for
  // a pair that went are refused at once, and its derived keys are wiped piece by piece in handle_timeout. Devices get
  // keys for a new pair when they are put again.
  void set_own_keys(std::vector<KeyPair> keys);
  // Keeps the newest of them only, the same way.
  void retire_older_own_keys();
  // Makes room, so that putting this many devices one after the other never stops to move tables. Moves at most one
  // table a call (about 5 ms for 100,000 devices; nothing while there are none yet); true when it is to be called again.
  bool expect_devices(std::size_t clients, std::size_t infrastructure);
  // Effective at once: no frame of it, no retransmit and no cached verdict passes after the return. False when unknown.
  bool remove_device(const Identity& identity);

  // Whether the frame would reach the AEAD: hint and P. For carriers that have to wait for more bytes. Counts a drop.
  [[nodiscard]] bool plausible(Transport transport, FrameView frame);
  // The whole verdict. `port` is ignored for kQuicToken.
  [[nodiscard]] std::optional<Grant> verify(Instant now, WallTime wall_now, Transport transport, FrameView frame,
                                            const KnockContext& context);
  // The same for what one read of a socket brought, in order, at twice the rate: the frames wait for memory together.
  // `grants` has as many elements as `frames`.
  void verify_batch(Instant now, WallTime wall_now, std::span<const ArrivedFrame> frames,
                    std::span<std::optional<Grant>> grants);
  // For Initials: like verify, and a repeat of a granted Initial (same nonce, DCID and source) is granted again for
  // kVerdictLifetime while a copy from elsewhere is a replay.
  [[nodiscard]] std::optional<Grant> verify_initial(Instant now, WallTime wall_now, const QuicInitial& initial,
                                                    const SocketAddress& source);
  // Whether an Initial would reach the AEAD, or is a repeat that would be granted again: false for a copy from elsewhere
  // of an Initial that was granted. For what is to be done before the whole verdict. Counts a drop.
  [[nodiscard]] bool plausible_initial(Instant now, const QuicInitial& initial, const SocketAddress& source);
  // A client gives up a handshake after 10 s (RFC 9000 section 10.1 with our idle timeout); repeats stop then.
  static constexpr Duration kVerdictLifetime = std::chrono::seconds(15);

  // A nonce from the journal of a former run. False when its slot is not covered now; it then counts as lost.
  bool restore(WallTime wall_now, const ReplayRecord& record);

  // Prepares the keys of coming slots, a bounded piece each call (about 1 ms). The first call makes all slots ready in
  // full (about 100 ms for 100,000 devices): call it before the first frame. After the wall clock was set the new
  // slots are prepared piece by piece, the current one first.
  void handle_timeout(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<VerifierEvent> poll_event();

  [[nodiscard]] VerifierStats stats() const;
  // For another thread, after put_device and handle_timeout; empty mostly. Without them a large site's frames cost more.
  [[nodiscard]] std::vector<PageMove> take_page_moves();

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace natt::spa
