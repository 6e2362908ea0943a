// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/locked_memory.h>

#include <sodium.h>

#include <cstdlib>

namespace natt::spa {

LockedMemory::LockedMemory(std::size_t size) : size_(size) {
  if (sodium_init() < 0) std::abort();
  data_ = static_cast<std::uint8_t*>(sodium_malloc(size));
  if (data_ == nullptr) std::abort();
  sodium_memzero(data_, size);
  // sodium_malloc locks but does not say whether it could; locking twice is harmless and does.
  locked_ = sodium_mlock(data_, size) == 0;
}

LockedMemory& LockedMemory::operator=(LockedMemory&& other) noexcept {
  if (this != &other) {
    sodium_free(data_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    locked_ = other.locked_;
  }
  return *this;
}

// Wipes and unlocks, too.
LockedMemory::~LockedMemory() { sodium_free(data_); }

}  // namespace natt::spa
