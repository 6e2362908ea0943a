// SPDX-License-Identifier: Apache-2.0
#include "counted_allocations.h"

#include <cstdlib>
#include <new>

namespace natt::bench {

std::atomic<std::uint64_t> allocations{0};
std::atomic<std::int64_t> allocated_bytes{0};

}  // namespace natt::bench

// Sizes are kept in front of each block.
void* operator new(std::size_t size) {
  auto* block = static_cast<std::size_t*>(std::malloc(size + 64));
  if (block == nullptr) std::abort();
  block[0] = size;
  natt::bench::allocations.fetch_add(1, std::memory_order_relaxed);
  natt::bench::allocated_bytes.fetch_add(static_cast<std::int64_t>(size), std::memory_order_relaxed);
  return reinterpret_cast<char*>(block) + 64;
}
void operator delete(void* pointer) noexcept {
  if (pointer == nullptr) return;
  auto* block = reinterpret_cast<std::size_t*>(static_cast<char*>(pointer) - 64);
  natt::bench::allocated_bytes.fetch_sub(static_cast<std::int64_t>(block[0]), std::memory_order_relaxed);
  std::free(block);
}
void operator delete(void* pointer, std::size_t) noexcept { operator delete(pointer); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  void* block = std::aligned_alloc(step, (size + step - 1) / step * step);
  if (block == nullptr) std::abort();
  natt::bench::allocations.fetch_add(1, std::memory_order_relaxed);
  natt::bench::allocated_bytes.fetch_add(static_cast<std::int64_t>(size), std::memory_order_relaxed);
  return block;
}
void operator delete(void* pointer, std::align_val_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::size_t size, std::align_val_t) noexcept {
  natt::bench::allocated_bytes.fetch_sub(static_cast<std::int64_t>(size), std::memory_order_relaxed);
  std::free(pointer);
}
