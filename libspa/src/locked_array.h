// SPDX-License-Identifier: Apache-2.0
#pragma once

// A growing array of key records in locked memory, in blocks: a growing site neither
// moves keys about nor locks more than it uses. Records are zero until written.

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include <natt/spa/page_move.h>

#include "locked_block.h"

namespace natt::spa {

template <typename T>
requires(std::is_trivially_copyable_v<T>&& std::is_trivially_destructible_v<T>) class LockedArray {
 public:
  static constexpr std::size_t kPerBlock = LockedBlock::kSize / sizeof(T);

  void grow_to(std::size_t count) {
    while (extent_ < count) {
      const std::size_t within = extent_ % kPerBlock;
      if (within == 0) {
        blocks_.emplace_back();
        records_.push_back(reinterpret_cast<T*>(blocks_.back().data()));
      }
      LockedBlock& block = blocks_.back();
      locked_ = block.extend((within + kPerPiece) * sizeof(T)) && locked_;
      extent_ += kPerPiece;
      if (block.full()) moves_.emplace_back(block.data(), LockedBlock::kSize);
    }
  }

  [[nodiscard]] T& operator[](std::size_t at) { return records_[at / kPerBlock][at % kPerBlock]; }
  [[nodiscard]] const T& operator[](std::size_t at) const { return records_[at / kPerBlock][at % kPerBlock]; }
  // Records there is memory for.
  [[nodiscard]] std::size_t extent() const { return extent_; }
  [[nodiscard]] bool locked() const { return locked_; }
  // Appends what is to be run elsewhere, once.
  void take_moves(std::vector<PageMove>& moves) {
    moves.insert(moves.end(), moves_.begin(), moves_.end());
    moves_.clear();
  }

 private:
  // Locked at once: small beside the least limit in use (RLIMIT_MEMLOCK was 64 KiB before Linux 5.16, 8 MiB since).
  static constexpr std::size_t kPerPiece = (std::size_t{16} << 10) / sizeof(T);
  static_assert(kPerBlock % kPerPiece == 0 && LockedBlock::kSize % sizeof(T) == 0);

  std::vector<LockedBlock> blocks_;
  std::vector<T*> records_;
  std::vector<PageMove> moves_;
  std::size_t extent_ = 0;
  bool locked_ = true;
};

}  // namespace natt::spa
