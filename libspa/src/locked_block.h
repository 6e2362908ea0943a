// SPDX-License-Identifier: Apache-2.0
#pragma once

// 2 MiB for keys, taken into use in pieces: what is in use is zero until written, kept
// out of swap and core dumps and wiped when released; the rest, and as much before and
// behind, is address space where any access faults. A full block should become a huge page.
// What LockedMemory does for one key, this does for the tables that hold all of them.
//
// Owns its memory; movable, not copyable. Allocation failure ends the process.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "page_memory.h"

namespace natt::spa {

class LockedBlock {
 public:
  static constexpr std::size_t kSize = PageMemory::kHugePage;

  LockedBlock() : memory_(3 * kSize, PageMemory::Access::kReserved) {}
  LockedBlock(LockedBlock&& other) noexcept
      : memory_(std::move(other.memory_)), in_use_(std::exchange(other.in_use_, 0)) {}
  LockedBlock& operator=(LockedBlock&&) = delete;
  LockedBlock(const LockedBlock&) = delete;
  LockedBlock& operator=(const LockedBlock&) = delete;
  ~LockedBlock();

  [[nodiscard]] std::uint8_t* data() const { return memory_.data() + kSize; }
  // Makes the first `size` octets usable: a multiple of a page, not less than before. False when what it added may
  // reach swap, because the limit on locked memory (RLIMIT_MEMLOCK) is used up.
  [[nodiscard]] bool extend(std::size_t size);
  [[nodiscard]] bool full() const { return in_use_ == kSize; }

 private:
  PageMemory memory_;
  std::size_t in_use_ = 0;
};

}  // namespace natt::spa
