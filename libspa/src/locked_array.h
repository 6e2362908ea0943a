// SPDX-License-Identifier: Apache-2.0
#pragma once

// A growing array of key records in locked memory, in blocks: a growing site neither
// moves keys about nor costs guard pages per key. Records are zero until written.

#include <cstddef>
#include <type_traits>
#include <vector>

#include <natt/spa/locked_memory.h>

namespace natt::spa {

template <typename T>
requires(std::is_trivially_copyable_v<T>&& std::is_trivially_destructible_v<T>) class LockedArray {
 public:
  static constexpr std::size_t kPerBlock = 1024;

  void grow_to(std::size_t count) {
    while (blocks_.size() * kPerBlock < count) {
      blocks_.emplace_back(kPerBlock * sizeof(T));
      records_.push_back(reinterpret_cast<T*>(blocks_.back().bytes().data()));
      locked_ = locked_ && blocks_.back().locked();
    }
  }

  [[nodiscard]] T& operator[](std::size_t at) { return records_[at / kPerBlock][at % kPerBlock]; }
  [[nodiscard]] const T& operator[](std::size_t at) const { return records_[at / kPerBlock][at % kPerBlock]; }
  // Records there is memory for.
  [[nodiscard]] std::size_t extent() const { return records_.size() * kPerBlock; }
  [[nodiscard]] bool locked() const { return locked_; }

 private:
  std::vector<LockedMemory> blocks_;
  std::vector<T*> records_;
  bool locked_ = true;
};

}  // namespace natt::spa
