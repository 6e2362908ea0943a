// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/kernel_gate.h>

#include <arpa/inet.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>
#include <list>
#include <optional>
#include <string>
#include <utility>

#include <natt/spa/errc.h>

#include "gate/gate_object.h"
#include "gate/gated_sockets.h"
#include "gate/hint_table.h"
#include "gate/verifier_hints.h"

namespace natt::spa {
namespace {

using gate::GateObject;

// A frame is valid in three slots (hint_index.h).
constexpr std::size_t kSlots = 3;
constexpr std::size_t kLeastKeys = 1024;
// The claim of GATE_REMEMBERED: what one key of a device may send in a minute does not fill these maps.
static_assert(GATE_REMEMBERED > 60 * kSlots * kGateSynsPerSecond);

static_assert(KernelGate::kMaxVerifiers == GATE_MAX_VERIFIERS);
static_assert(KernelGate::kMaxStunKeys == GATE_MAX_STUN_KEYS);
static_assert(KernelGate::kMaxConnectionIdKeys == GATE_MAX_CONNECTION_ID_KEYS);
static_assert(KernelGate::kMaxDnsSuffixes == GATE_MAX_DNS_SUFFIXES);
static_assert(DnsSuffix::kMaxText + 2 <= sizeof(gate_suffix::text));

// The octets as they are: the programs read them as little-endian words.
gate_sip_key sip_key(std::span<const std::uint8_t, 16> octets) {
  gate_sip_key key{};
  std::memcpy(&key, octets.data(), octets.size());
  return key;
}

gate_address gate_ip(const IpAddress& ip) {
  gate_address address{};
  std::memcpy(&address, ip.octets().data(), ip.octets().size());
  return address;
}

gate_suffix gate_suffix_of(const DnsSuffix& suffix) {
  const ByteView wire = suffix.wire();
  gate_suffix made{};
  std::memcpy(made.text, wire.data(), wire.size());
  std::memset(made.mask, 0xff, wire.size());
  made.size = static_cast<std::uint32_t>(wire.size());
  return made;
}

// What bpf_ktime_get_ns() counts.
std::uint64_t kernel_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t nanoseconds(Duration duration) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(duration).count());
}

std::vector<GateSocket> kinds_of(const KernelGateOptions& options) {
  if (!options.sockets.empty()) return options.sockets;
  std::vector<GateSocket> all;
  for (std::size_t i = 0; i < kGateSocketCount; ++i) all.push_back(static_cast<GateSocket>(i));
  return all;
}

GateObject::Sizes sizes_of(const KernelGateOptions& options, std::size_t places) {
  return {.places = places,
          .remembered = GATE_REMEMBERED,
          .awaited = std::max<std::size_t>(options.max_awaited, 1)};
}

// A larger table in the making.
struct Growth {
  std::size_t places = 0;
  bool taken = false;              // by the thread that makes it
  std::atomic<bool> made = false;  // by that thread: what follows is the loop's
  Result<void> outcome;
  std::unique_ptr<GateObject> object;
  std::unique_ptr<gate::HintTable> table;

  // `former` is not changed while this runs.
  void make(const KernelGateOptions& options, const GateObject& former) {
    outcome = load(options, former);
    made.store(true, std::memory_order_release);
  }
  Result<void> load(const KernelGateOptions& options, const GateObject& former) {
    auto loaded = GateObject::load(kinds_of(options), sizes_of(options, places), &former);
    if (!loaded) return tl::unexpected(loaded.error());
    auto opened = gate::HintTable::open((*loaded)->hints(), (*loaded)->filter(), places);
    if (!opened) return tl::unexpected(opened.error());
    object = std::move(*loaded);
    table = std::move(*opened);
    return {};
  }
};

// Of a table that has become too small; freeing it takes long, too.
struct FormerTable {
  std::unique_ptr<GateObject> object;
  std::unique_ptr<gate::HintTable> table;
  bool taken = false;

  void free() {
    table.reset();
    object.reset();
  }
};

class LoadedGate final : public KernelGate, private gate::HintRoom {
 public:
  LoadedGate(std::unique_ptr<GateObject> object, std::unique_ptr<gate::HintTable> hints,
             const KernelGateOptions& options)
      : options_(options), object_(std::move(object)), hints_(std::move(hints)), sockets_(options.log) {
    hints_->set_room(this);
    config_.flags = GATE_FLAG_ANY_SUFFIX;
    config_.syns_per_second = options.syns_per_second;
    config_.source_lifetime_ns = nanoseconds(options.source_lifetime);
    config_.flow_lifetime_ns = nanoseconds(options.flow_lifetime);
    set_masks();
  }

  Result<HintListener*> add_verifier(const MaskKey& mask) override;
  void set_stun_keys(std::span<const Secret<16>> keys) override;
  void set_connection_id_keys(std::span<const ConnectionIdKey* const> keys) override;
  void set_dns_suffixes(std::span<const DnsSuffix> suffixes) override;
  void flush() override;
  std::function<void()> take_work() override;
  [[nodiscard]] bool has_work() const override { return growth_ && growth_->made.load(std::memory_order_acquire); }
  void allow_source(const IpAddress& source) override;
  void forget_source(const IpAddress& source) override { object_->remove_source(gate_ip(source)); }
  void expect_answer(std::span<const std::uint8_t, 12> transaction, Duration lifetime) override;
  void expect_relay(const SocketAddress& relay, Duration lifetime) override {
    expect_from(relay, GATE_ANSWER_RELAY, lifetime);
  }
  void expect_dns(const SocketAddress& server, Duration lifetime) override {
    expect_from(server, GATE_ANSWER_DNS, lifetime);
  }
  Result<void> attach(int socket, GateSocket kind) override { return sockets_.attach(socket, kind, *object_); }
  Result<void> detach(int socket) override { return sockets_.detach(socket); }
  [[nodiscard]] int program(GateSocket kind) const override { return object_->program(kind); }
  [[nodiscard]] bool complete() const override { return hints_->lost() == 0 && sockets_.shortfall().empty(); }
  [[nodiscard]] KernelGateStats stats() const override;

 private:
  [[nodiscard]] bool make_room() noexcept override;
  void grow_again();
  void note_growth(std::size_t places, const Result<void>& outcome);
  // One piece of what is made in the background.
  void go_on_growing();
  void finish_growth();
  [[nodiscard]] Result<void> move_to(std::size_t places);
  void set_masks();
  void set_flag(std::uint32_t flag, bool on);
  void expect_from(const SocketAddress& from, gate_answer kind, Duration lifetime);

  KernelGateOptions options_;
  std::unique_ptr<GateObject> object_;
  std::unique_ptr<gate::HintTable> hints_;
  std::list<gate::VerifierHints> verifiers_;
  gate::GatedSockets sockets_;
  std::optional<std::uint64_t> may_grow_at_ns_;  // after a failure; none: now
  std::unique_ptr<Growth> growth_;
  std::unique_ptr<FormerTable> former_;
  bool told_full_ = false;
  gate_config config_{};
};

// What programs make of hints, in the table that they have.
void LoadedGate::set_masks() {
  config_.hint_mask = hints_->mask();
  config_.filter_mask = static_cast<std::uint32_t>(hints_->places() * GATE_FILTER_BITS_PER_PLACE - 1);
  object_->set_config(config_);
}

bool LoadedGate::make_room() noexcept {
  if (growth_ || (may_grow_at_ns_ && kernel_now() < *may_grow_at_ns_)) return false;
  const std::size_t places = 2 * hints_->places();
  const std::size_t most = gate::HintTable::places_for(kSlots * options_.most_keys);
  if (places <= most && options_.grow_in_background) {
    growth_ = std::make_unique<Growth>();
    growth_->places = places;
    hints_->begin_growth();
    return true;
  }
  auto moved = places <= most ? move_to(places) : fail(Errc::kLimit, "the kernel gate's table may not grow any more");
  note_growth(places, moved);
  return moved.has_value();
}

void LoadedGate::note_growth(std::size_t places, const Result<void>& outcome) {
  if (outcome) {
    may_grow_at_ns_.reset();
    told_full_ = false;
    return options_.log(LogLevel::kInfo, "natt.spa.kernel_gate state=grown places=" + std::to_string(places));
  }
  may_grow_at_ns_ = kernel_now() + nanoseconds(options_.growth_retry);
  if (std::exchange(told_full_, true)) return;
  options_.log(LogLevel::kWarning, "natt.spa.kernel_gate state=full hints=" + std::to_string(hints_->size()) +
                                       " reason=\"" + outcome.error().message + "\"");
}

std::function<void()> LoadedGate::take_work() {
  if (growth_ && !std::exchange(growth_->taken, true)) {
    return [growth = growth_.get(), options = &options_, object = object_.get()] { growth->make(*options, *object); };
  }
  if (!former_ || std::exchange(former_->taken, true)) return nullptr;
  return [former = former_.get()] { former->free(); };
}

void LoadedGate::go_on_growing() {
  if (!has_work()) return;
  Result<bool> filled = false;
  if (!growth_->outcome) {
    filled = tl::unexpected(growth_->outcome.error());
  } else {
    if (!hints_->is_filling()) hints_->fill_into(std::move(growth_->table));
    filled = hints_->fill();
  }
  if (filled && !*filled) return;
  if (filled) return finish_growth();
  hints_->give_up_growth();
  const std::unique_ptr<Growth> failed = std::move(growth_);
  note_growth(failed->places, tl::unexpected(filled.error()));
}

// Until its sockets have the new programs the old ones go on with the old table.
void LoadedGate::finish_growth() {
  former_ = std::make_unique<FormerTable>();
  former_->table = hints_->finish();
  former_->object = std::exchange(object_, std::move(growth_->object));
  const std::unique_ptr<Growth> done = std::move(growth_);
  set_masks();
  sockets_.move_to(*object_);
  note_growth(done->places, {});
}

// What was lost comes again with the next slot: it is to find room then.
void LoadedGate::grow_again() {
  const bool tried = may_grow_at_ns_.has_value();
  if (tried && hints_->lost() != 0) static_cast<void>(make_room());
}

// Until its sockets have the new programs the old ones go on with the old table.
Result<void> LoadedGate::move_to(std::size_t places) {
  auto next = GateObject::load(kinds_of(options_), sizes_of(options_, places), object_.get());
  if (!next) return tl::unexpected(next.error());
  if (auto moved = hints_->move_to((*next)->hints(), (*next)->filter(), places); !moved) return moved;
  std::swap(object_, *next);
  set_masks();
  sockets_.move_to(*object_);
  return {};
}

Result<HintListener*> LoadedGate::add_verifier(const MaskKey& mask) {
  if (verifiers_.size() >= kMaxVerifiers) return fail(Errc::kLimit, "the kernel gate serves 16 sites and no more");
  object_->set_mask(config_.verifiers, sip_key(mask.view()));
  ++config_.verifiers;
  object_->set_config(config_);
  return &verifiers_.emplace_back(*hints_);
}

void LoadedGate::set_stun_keys(std::span<const Secret<16>> keys) {
  const std::size_t count = std::min(keys.size(), kMaxStunKeys);
  for (std::uint32_t i = 0; i < count; ++i) object_->set_stun_key(i, sip_key(keys[i].view()));
  config_.stun_keys = static_cast<std::uint32_t>(count);
  config_.flags = keys.size() > kMaxStunKeys ? config_.flags | GATE_FLAG_ANY_STUN
                                             : config_.flags & ~std::uint32_t{GATE_FLAG_ANY_STUN};
  object_->set_config(config_);
}

void LoadedGate::set_connection_id_keys(std::span<const ConnectionIdKey* const> keys) {
  const std::size_t count = std::min(keys.size(), kMaxConnectionIdKeys);
  for (std::uint32_t i = 0; i < count; ++i) object_->set_connection_id_key(i, sip_key(keys[i]->view()));
  config_.connection_id_keys = static_cast<std::uint32_t>(count);
  object_->set_config(config_);
}

void LoadedGate::set_dns_suffixes(std::span<const DnsSuffix> suffixes) {
  const std::size_t count = std::min(suffixes.size(), kMaxDnsSuffixes);
  for (std::uint32_t i = 0; i < count; ++i) object_->set_suffix(i, gate_suffix_of(suffixes[i]));
  config_.dns_suffixes = static_cast<std::uint32_t>(count);
  config_.flags = suffixes.size() > kMaxDnsSuffixes ? config_.flags | GATE_FLAG_ANY_SUFFIX
                                                    : config_.flags & ~std::uint32_t{GATE_FLAG_ANY_SUFFIX};
  object_->set_config(config_);
}

void LoadedGate::flush() {
  hints_->flush();
  go_on_growing();
  grow_again();
  sockets_.retry(*object_);
  set_flag(GATE_FLAG_INCOMPLETE, hints_->lost() != 0);
}

void LoadedGate::set_flag(std::uint32_t flag, bool on) {
  const std::uint32_t flags = on ? config_.flags | flag : config_.flags & ~flag;
  if (flags == config_.flags) return;
  config_.flags = flags;
  object_->set_config(config_);
}

void LoadedGate::allow_source(const IpAddress& source) {
  object_->set_source(gate_ip(source), {.expires_ns = kernel_now() + config_.source_lifetime_ns,
                                        .syns_left = options_.syns_per_source,
                                        .reserved = 0});
}

void LoadedGate::expect_answer(std::span<const std::uint8_t, 12> transaction, Duration lifetime) {
  gate_transaction key{};
  std::memcpy(key.id, transaction.data(), transaction.size());
  object_->set_awaited(key, kernel_now() + nanoseconds(lifetime));
}

void LoadedGate::expect_from(const SocketAddress& from, gate_answer kind, Duration lifetime) {
  const gate_endpoint key{.ip = gate_ip(from.ip), .port = htons(from.port) | std::uint64_t{kind} << 32};
  object_->set_answerer(key, kernel_now() + nanoseconds(lifetime));
}

KernelGateStats LoadedGate::stats() const {
  return {.packets = object_->verdicts(),
          .hints = hints_->size(),
          .complete = hints_->lost() == 0,
          .shortfall = sockets_.shortfall()};
}

}  // namespace

Result<std::unique_ptr<KernelGate>> open_kernel_gate(const KernelGateOptions& options) {
  const std::size_t keys = std::max(options.max_keys, kLeastKeys);
  const std::size_t places = gate::HintTable::places_for(kSlots * std::min(keys, options.most_keys));
  auto object = GateObject::load(kinds_of(options), sizes_of(options, places), nullptr);
  if (!object) return tl::unexpected(object.error());
  auto hints = gate::HintTable::open((*object)->hints(), (*object)->filter(), places);
  if (!hints) return tl::unexpected(hints.error());
  return std::make_unique<LoadedGate>(std::move(*object), std::move(*hints), options);
}

}  // namespace natt::spa
