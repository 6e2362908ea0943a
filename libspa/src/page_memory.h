// SPDX-License-Identifier: Apache-2.0
#pragma once

// Zeroed memory for large tables, straight from the system and aligned to huge pages: a
// page that was never written costs nothing, and what is full can be made one huge page,
// which is what random access over 100,000 devices needs (bench/README.md).
//
// Owns its mapping; movable, not copyable. Allocation failure ends the process.

#include <cstddef>
#include <cstdint>
#include <utility>

namespace natt::spa {

class PageMemory {
 public:
  // Of x86-64, and of arm64 with 4 KiB pages. Elsewhere just a large piece.
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;
  enum class Access : std::uint8_t { kReserved, kReadWrite };

  PageMemory() = default;
  // `size` in octets, a multiple of kHugePage. kReserved is address space only.
  PageMemory(std::size_t size, Access access);
  PageMemory(PageMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PageMemory& operator=(PageMemory&& other) noexcept;
  PageMemory(const PageMemory&) = delete;
  PageMemory& operator=(const PageMemory&) = delete;
  ~PageMemory();

  [[nodiscard]] std::uint8_t* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // Zero again, and its pages given back.
  void discard();

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// Asks for huge pages under [begin, begin + size), both multiples of kHugePage. A system that has none, or none now,
// leaves everything as it is.
void prefer_huge_pages(std::uint8_t* begin, std::size_t size);
// For memory that is in use there is PageMove: copying it takes 0.2 ms, finding a free huge page up to 15 ms.

}  // namespace natt::spa
