// SPDX-License-Identifier: Apache-2.0
#include "locked_block.h"

#include <sodium.h>
#include <sys/mman.h>

#include <cstdlib>

namespace natt::spa {

bool LockedBlock::extend(std::size_t size) {
  if (size <= in_use_) return true;
  std::uint8_t* const begin = data() + in_use_;
  const std::size_t added = size - in_use_;
  if (size > kSize || mprotect(begin, added, PROT_READ | PROT_WRITE) != 0) std::abort();
  in_use_ = size;
  // Excludes it from core dumps, too.
  return sodium_mlock(begin, added) == 0;
}

LockedBlock::~LockedBlock() {
  if (in_use_ > 0) sodium_memzero(data(), in_use_);
}

}  // namespace natt::spa
