// SPDX-License-Identifier: Apache-2.0
#pragma once

// Memory for keys that live long: between guard pages, kept out of swap and core
// dumps, wiped when released (libsodium's sodium_malloc). Where the limit on locked
// memory (RLIMIT_MEMLOCK) is used up the memory still works, is still wiped and still
// left out of core dumps; locked() then says that it may be swapped.
//
// Owns its block; movable, not copyable. A block costs at least four pages: one
// block for many keys, not one each. Allocation failure ends the process.

#include <cstddef>
#include <cstdint>
#include <utility>

#include <natt/bytes.h>

namespace natt::spa {

class LockedMemory {
 public:
  // Zeroed. `size` in octets; the block is aligned to the largest power of two that divides `size`, up to a page.
  explicit LockedMemory(std::size_t size);
  LockedMemory(LockedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)), locked_(other.locked_) {}
  LockedMemory& operator=(LockedMemory&& other) noexcept;
  LockedMemory(const LockedMemory&) = delete;
  LockedMemory& operator=(const LockedMemory&) = delete;
  ~LockedMemory();

  [[nodiscard]] MutableBytes bytes() { return {data_, size_}; }
  [[nodiscard]] ByteView bytes() const { return {data_, size_}; }
  [[nodiscard]] bool locked() const { return locked_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  bool locked_ = false;
};

}  // namespace natt::spa
