// SPDX-License-Identifier: Apache-2.0
#pragma once

// The hints of all slots that count, in memory shared with the kernel's programs: open
// addressing, written here without a system call, read there. Each place is published by the
// store of its hint. Moving an entry closer to its home may hide it from a packet in that
// very moment: senders repeat knocks.
//
// Hints of a slot that is over are taken out as new ones come in; until then they let
// through what user space refuses. Resource class.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include <natt/error.h>

#include "gate/bpf/gate_abi.h"

namespace natt::spa::gate {

using Hint = std::array<std::uint8_t, 8>;

// The hints that one verifier has given for one slot.
struct HintGroup {
  const void* owner = nullptr;  // the verifier's; never followed
  std::uint64_t slot = 0;
  std::vector<Hint> hints;
  std::size_t lost = 0;  // of these, how many did not fit
};

// Who can find more memory for a table.
class HintRoom {
 public:
  // Calls HintTable::move_to with more places, or begin_growth(), or says false.
  [[nodiscard]] virtual bool make_room() noexcept = 0;

 protected:
  ~HintRoom() = default;
};

class HintTable {
 public:
  // Retired hints that one flush removes: some ten microseconds.
  static constexpr std::size_t kPiece = 1024;
  // Places that one fill() looks at: half a millisecond.
  static constexpr std::size_t kFillPiece = 4096;
  // Entries that have no place until a larger table is there.
  static constexpr std::size_t kMostWaiting = 16'384;
  // Places for so many hints: at most five eighths are used. With linear probing the longest search among n entries is
  // about ln n / (a - 1 - ln a) at the load a (Pittel 1987): 160 for four millions, which GATE_PROBES has room for; at
  // three quarters it would be 400. A
  // power of two, and no more than that: a packet that names a device waits for its line of memory and for where that
  // is, a hundred nanoseconds longer in 64 MB than in 16 MB.
  [[nodiscard]] static std::size_t places_for(std::size_t hints);

  // Maps the arrays gate_hints, which has so many places, and gate_filter.
  [[nodiscard]] static Result<std::unique_ptr<HintTable>> open(int hints, int filter, std::size_t places);
  ~HintTable();
  HintTable(const HintTable&) = delete;
  HintTable& operator=(const HintTable&) = delete;

  // Asked when the table is full; without, or when it says false, entries are lost. Outlives the table's use.
  void set_room(HintRoom* room) { room_ = room; }
  // The same entries in other arrays, with so many places; these here are given up.
  [[nodiscard]] Result<void> move_to(int hints, int filter, std::size_t places);

  // The same in pieces, while packets and changes go on. From here on the table fills up to three quarters, and what
  // has no place even so waits; then fill(), once and again until it says true, and finish().
  void begin_growth() { growing_ = true; }
  // `larger` is empty and nobody else's.
  void fill_into(std::unique_ptr<HintTable> larger) { larger_ = std::move(larger); }
  [[nodiscard]] bool is_filling() const { return larger_ != nullptr; }
  // True: every entry is in the larger table, and stays so. kLimit: it is crowded.
  [[nodiscard]] Result<bool> fill();
  // Becomes the larger table; the result holds the former arrays.
  [[nodiscard]] std::unique_ptr<HintTable> finish();
  // There is no larger table: those that wait go on waiting.
  void give_up_growth();

  void add(HintGroup& group, const Hint& hint, std::span<const std::uint8_t, 16> prefilter_key);
  void remove(const Hint& hint);
  // None of the group is needed any more; what it holds is taken.
  void retire(HintGroup& group);
  // Takes out at once what is left of an owner's retired slot: it may come back, with the same hints.
  void forget_retired(const void* owner, std::uint64_t slot);
  void flush() { remove_retired(kPiece); }

  [[nodiscard]] std::size_t places() const { return places_.size(); }
  [[nodiscard]] std::uint32_t mask() const { return static_cast<std::uint32_t>(places_.size() - 1); }
  [[nodiscard]] std::size_t size() const { return size_; }
  // Entries that did not fit, of groups that still count; those that wait for a larger table included.
  [[nodiscard]] std::size_t lost() const { return lost_ + waiting_.size(); }

 private:
  HintTable(std::span<gate_hint> places, std::span<std::uint64_t> filter) : places_(places), filter_(filter) {}
  void unmap();
  [[nodiscard]] bool is_full() const { return 8 * size_ >= (growing_ ? 6 : 5) * places_.size(); }
  // Nowhere: the table is full, or crowded where this belongs.
  [[nodiscard]] gate_hint* place_for(std::uint64_t hint);
  void write(gate_hint& place, std::uint64_t hint, const gate_hint& contents);
  [[nodiscard]] bool store(std::uint64_t hint, const gate_hint& contents);
  void store_in_larger(std::uint64_t hint, const gate_hint& contents);
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & mask(); }
  [[nodiscard]] std::size_t home(std::uint64_t hint) const;
  [[nodiscard]] bool put(const Hint& hint, std::span<const std::uint8_t, 16> prefilter_key);
  void erase(std::size_t hole);
  void set_bit(std::uint64_t hint);
  // Unless another hint needs it.
  void clear_bit(std::uint64_t hint);
  void remove_retired(std::size_t count);

  std::span<gate_hint> places_;
  std::span<std::uint64_t> filter_;
  std::deque<HintGroup> retired_;
  std::size_t size_ = 0;
  std::size_t lost_ = 0;
  HintRoom* room_ = nullptr;

  bool growing_ = false;
  std::map<std::uint64_t, gate_hint> waiting_;
  std::unique_ptr<HintTable> larger_;
  std::size_t filled_ = 0;            // places of this table, from the first on
  std::uint64_t filled_waiting_ = 0;  // the hints of waiting_ below it
  bool larger_is_crowded_ = false;
};

}  // namespace natt::spa::gate
