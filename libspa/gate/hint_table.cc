// SPDX-License-Identifier: Apache-2.0
#include "gate/hint_table.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include <natt/secret.h>
#include <natt/spa/errc.h>

namespace natt::spa::gate {
namespace {

constexpr std::uint64_t kEmpty = 0;
constexpr std::size_t kLeastPlaces = 1024;

std::uint64_t number(const Hint& hint) {
  std::uint64_t value = 0;
  std::memcpy(&value, hint.data(), hint.size());
  return value;
}

void publish(gate_hint& place, std::uint64_t hint) {
  std::atomic_ref<__u64>(place.hint).store(hint, std::memory_order_release);
}

// Of the octets read as little-endian, as the programs do.
std::uint32_t low_bits(std::uint64_t hint) {
  if constexpr (std::endian::native == std::endian::big) hint = __builtin_bswap64(hint);
  return static_cast<std::uint32_t>(hint & 0xffff'ffff);
}

void* map_array(int map, std::size_t size) {
  return ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
}

tl::unexpected<Error> not_mapped(int error) {
  return fail(Errc::kUnavailable,
              "the kernel gate's table cannot be mapped: " + std::generic_category().message(error));
}

tl::unexpected<Error> crowded() { return fail(Errc::kLimit, "the kernel gate's larger table is crowded"); }

// Everything but the hint.
void set_contents(gate_hint& place, const gate_hint& contents) {
  place.prefilter = contents.prefilter;
  place.second = contents.second;
  place.syns = contents.syns;
}

}  // namespace

std::size_t HintTable::places_for(std::size_t hints) {
  return std::bit_ceil(std::max(kLeastPlaces, (8 * hints + 4) / 5));
}

Result<std::unique_ptr<HintTable>> HintTable::open(int hints, int filter, std::size_t places) {
  const std::size_t words = places * GATE_FILTER_BITS_PER_PLACE / 64;
  void* table = map_array(hints, places * sizeof(gate_hint));
  if (table == MAP_FAILED) return not_mapped(errno);
  void* bits = map_array(filter, words * sizeof(std::uint64_t));
  if (bits == MAP_FAILED) {
    const int error = errno;
    ::munmap(table, places * sizeof(gate_hint));
    return not_mapped(error);
  }
  return std::unique_ptr<HintTable>(
      new HintTable({static_cast<gate_hint*>(table), places}, {static_cast<std::uint64_t*>(bits), words}));
}

HintTable::~HintTable() { unmap(); }

void HintTable::unmap() {
  ::munmap(places_.data(), places_.size_bytes());
  ::munmap(filter_.data(), filter_.size_bytes());
}

// Packets of this moment still go by the former arrays: they are as good until they are given up.
Result<void> HintTable::move_to(int hints, int filter, std::size_t places) {
  auto larger = open(hints, filter, places);
  if (!larger) return tl::unexpected(larger.error());
  HintTable& to = **larger;
  for (const gate_hint& from : places_) {
    if (from.hint != kEmpty && !to.store(from.hint, from)) return crowded();
  }
  std::swap(places_, to.places_);
  std::swap(filter_, to.filter_);
  size_ = to.size_;
  return {};
}

Result<bool> HintTable::fill() {
  const std::size_t end = std::min(filled_ + kFillPiece, places_.size());
  for (; filled_ < end; ++filled_) {
    if (places_[filled_].hint != kEmpty) store_in_larger(places_[filled_].hint, places_[filled_]);
  }
  auto waiting = waiting_.lower_bound(filled_waiting_);
  for (std::size_t i = 0; i < kPiece && waiting != waiting_.end(); ++i, ++waiting) {
    store_in_larger(waiting->first, waiting->second);
    filled_waiting_ = waiting->first + 1;
  }
  if (larger_is_crowded_) return crowded();
  return filled_ == places_.size() && waiting == waiting_.end();
}

std::unique_ptr<HintTable> HintTable::finish() {
  std::swap(places_, larger_->places_);
  std::swap(filter_, larger_->filter_);
  size_ = larger_->size_;
  waiting_.clear();
  auto former = std::move(larger_);
  give_up_growth();
  return former;
}

void HintTable::give_up_growth() {
  growing_ = false;
  larger_.reset();
  filled_ = 0;
  filled_waiting_ = 0;
  larger_is_crowded_ = false;
}

std::size_t HintTable::home(std::uint64_t hint) const { return low_bits(hint) & mask(); }

// All hints of one bit have the same home: the bit's number is the home with three more bits in front.
void HintTable::set_bit(std::uint64_t hint) {
  const std::uint32_t bit = low_bits(hint);
  std::atomic_ref<std::uint64_t> word(filter_[bit / 64 & (filter_.size() - 1)]);
  word.fetch_or(std::uint64_t{1} << (bit % 64), std::memory_order_release);
}

void HintTable::clear_bit(std::uint64_t hint) {
  const std::size_t bits = filter_.size() * 64 - 1;
  const std::uint32_t bit = low_bits(hint);
  for (std::size_t at = home(hint); places_[at].hint != kEmpty; at = next(at)) {
    if (((low_bits(places_[at].hint) ^ bit) & bits) == 0) return;
  }
  std::atomic_ref<std::uint64_t> word(filter_[bit / 64 & (filter_.size() - 1)]);
  word.fetch_and(~(std::uint64_t{1} << (bit % 64)), std::memory_order_release);
}

void HintTable::add(HintGroup& group, const Hint& hint, std::span<const std::uint8_t, 16> prefilter_key) {
  remove_retired(2);  // so that what comes always finds the room of what goes
  group.hints.push_back(hint);
  if (put(hint, prefilter_key)) return;
  ++group.lost;
  ++lost_;
}

bool HintTable::put(const Hint& hint, std::span<const std::uint8_t, 16> prefilter_key) {
  const std::uint64_t value = number(hint);
  if (value == kEmpty) return false;
  gate_hint contents{};
  std::memcpy(&contents.prefilter, prefilter_key.data(), prefilter_key.size());
  bool stored = store(value, contents);
  if (!stored && room_ != nullptr && room_->make_room()) stored = store(value, contents);
  store_in_larger(value, contents);
  if (stored || !growing_ || waiting_.size() >= kMostWaiting) return stored;
  waiting_[value] = contents;
  return true;
}

bool HintTable::store(std::uint64_t hint, const gate_hint& contents) {
  gate_hint* place = place_for(hint);
  if (place == nullptr) return false;
  write(*place, hint, contents);
  return true;
}

// Whatever is in this table after fill() has passed, or moves to a place that it has passed.
void HintTable::store_in_larger(std::uint64_t hint, const gate_hint& contents) {
  if (larger_ && !larger_->store(hint, contents)) larger_is_crowded_ = true;
}

gate_hint* HintTable::place_for(std::uint64_t hint) {
  if (is_full()) return nullptr;
  std::size_t at = home(hint);
  for (std::size_t i = 0; i < GATE_PROBES; ++i, at = next(at)) {
    if (places_[at].hint == kEmpty || places_[at].hint == hint) return &places_[at];
  }
  return nullptr;
}

void HintTable::write(gate_hint& place, std::uint64_t hint, const gate_hint& contents) {
  if (place.hint == kEmpty) ++size_;
  set_contents(place, contents);
  publish(place, hint);
  set_bit(hint);
}

void HintTable::remove(const Hint& hint) {
  const std::uint64_t value = number(hint);
  if (larger_) larger_->remove(hint);
  if (!waiting_.empty()) waiting_.erase(value);
  std::size_t at = home(value);
  for (std::size_t i = 0; i < GATE_PROBES && places_[at].hint != kEmpty; ++i, at = next(at)) {
    if (places_[at].hint != value) continue;
    erase(at);
    return clear_bit(value);
  }
}

// Knuth's algorithm R (The Art of Computer Programming 6.4): entries behind the hole move into it unless that would
// put them before their home.
void HintTable::erase(std::size_t hole) {
  for (std::size_t at = next(hole); places_[at].hint != kEmpty; at = next(at)) {
    const std::size_t from_home = (at - home(places_[at].hint)) & mask();
    if (from_home < ((at - hole) & mask())) continue;
    set_contents(places_[hole], places_[at]);
    publish(places_[hole], places_[at].hint);
    store_in_larger(places_[at].hint, places_[at]);
    hole = at;
  }
  publish(places_[hole], kEmpty);
  set_contents(places_[hole], {});
  --size_;
}

void HintTable::retire(HintGroup& group) {
  lost_ -= group.lost;
  retired_.push_back(std::move(group));
}

// As long as that takes: a clock that is set back does not happen often.
void HintTable::forget_retired(const void* owner, std::uint64_t slot) {
  std::erase_if(retired_, [&](const HintGroup& group) {
    if (group.owner != owner || group.slot != slot) return false;
    for (const Hint& hint : group.hints) remove(hint);
    return true;
  });
}

void HintTable::remove_retired(std::size_t count) {
  for (; count > 0 && !retired_.empty(); --count) {
    std::vector<Hint>& hints = retired_.front().hints;
    if (!hints.empty()) {
      remove(hints.back());
      hints.pop_back();
    }
    if (hints.empty()) retired_.pop_front();
  }
}

}  // namespace natt::spa::gate
