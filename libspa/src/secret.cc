// SPDX-License-Identifier: Apache-2.0
#include <natt/secret.h>

#include <sodium.h>

namespace natt {

void secure_zero(MutableBytes bytes) { sodium_memzero(bytes.data(), bytes.size()); }

bool constant_time_equal(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace natt
