// SPDX-License-Identifier: Apache-2.0
#pragma once

// A table of fixed size whose elements start as zero octets. Memory that was never
// written costs nothing, and a large table is made of huge pages: at the first touch, which
// may take the kernel milliseconds, or when its owner has page_move() run. Movable, not copyable.

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <type_traits>

#include <natt/spa/page_move.h>

#include "page_memory.h"

namespace natt::spa {

template <typename T>
requires(std::is_trivially_copyable_v<T>&& std::is_trivially_destructible_v<T>) class ZeroedArray {
 public:
  ZeroedArray() = default;
  enum class HugePages : std::uint8_t { kAtTouch, kLater };
  explicit ZeroedArray(std::size_t size, HugePages huge = HugePages::kAtTouch) : size_(size) { allocate(huge); }

  [[nodiscard]] T& operator[](std::size_t at) { return data_[at]; }
  [[nodiscard]] const T& operator[](std::size_t at) const { return data_[at]; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // Once most of it was written. Nothing for a table that is smaller than a huge page.
  [[nodiscard]] std::optional<PageMove> page_move() const {
    if (size_ * sizeof(T) < PageMemory::kHugePage) return std::nullopt;
    return PageMove(pages_.data(), pages_.size());
  }

  // Zeroes everything; a table of some size gives its memory back until it is written again.
  void clear() {
    if (pages_.data() != nullptr) return pages_.discard();
    zero();
  }
  // Zeroes everything for a table that is filled again at once: no page has to be asked for anew.
  void zero() {
    if (size_ > 0) std::memset(data_, 0, size_ * sizeof(T));
  }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  // Below, the allocator's own lists are the better place.
  static constexpr std::size_t kLeastMapped = std::size_t{64} << 10;

  void allocate(HugePages huge) {
    const std::size_t octets = size_ * sizeof(T);
    if (octets < kLeastMapped) {
      small_.reset(static_cast<T*>(std::calloc(size_, sizeof(T))));
      if (small_ == nullptr) std::abort();
      data_ = small_.get();
      return;
    }
    constexpr std::size_t kHuge = PageMemory::kHugePage;
    pages_ = PageMemory((octets + kHuge - 1) / kHuge * kHuge, PageMemory::Access::kReadWrite);
    // A huge page is touched as a whole: not for a table that fills less than one.
    if (octets >= kHuge && huge == HugePages::kAtTouch) prefer_huge_pages(pages_.data(), pages_.size());
    data_ = reinterpret_cast<T*>(pages_.data());
  }

  std::unique_ptr<T[], Free> small_;
  PageMemory pages_;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace natt::spa
