// SPDX-License-Identifier: Apache-2.0
#include "page_memory.h"

#include <sys/mman.h>

#include <cstdlib>

#include <natt/spa/page_move.h>

namespace natt::spa {
namespace {

std::uint8_t* map(std::size_t size) {
  void* memory = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  return static_cast<std::uint8_t*>(memory);
}

}  // namespace

PageMemory::PageMemory(std::size_t size, Access access) : size_(size) {
  // mmap aligns to a small page: take one huge page more and give back what stands out at both ends.
  std::uint8_t* const begin = map(size + kHugePage);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  data_ = begin + before;
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(data_ + size, kHugePage - before);
  if (access == Access::kReadWrite && mprotect(data_, size, PROT_READ | PROT_WRITE) != 0) std::abort();
}

PageMemory& PageMemory::operator=(PageMemory&& other) noexcept {
  if (this != &other) {
    if (data_ != nullptr) munmap(data_, size_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

PageMemory::~PageMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

void PageMemory::discard() {
  if (data_ != nullptr && madvise(data_, size_, MADV_DONTNEED) != 0) std::abort();
}

void prefer_huge_pages(std::uint8_t* begin, std::size_t size) {
#ifdef MADV_HUGEPAGE
  (void)madvise(begin, size, MADV_HUGEPAGE);
#endif
}

void PageMove::run() const noexcept {
  prefer_huge_pages(begin_, size_);
#ifdef __linux__
  // MADV_COLLAPSE, Linux 6.1; Debian 12's C library does not name it yet. A kernel without it refuses, and its
  // khugepaged comes by some time later.
  constexpr int kCollapse = 25;
  (void)madvise(begin_, size_, kCollapse);
#endif
}

}  // namespace natt::spa
