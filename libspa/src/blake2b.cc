// SPDX-License-Identifier: Apache-2.0
#include <natt/blake2b.h>

#include <sodium.h>

#include <cstdlib>

namespace natt::detail {

void blake2b_into(MutableBytes out, ByteView key, std::initializer_list<ByteView> parts) {
  crypto_generichash_state state;
  // A key of a size that libsodium refuses is a bug of the caller, not an input.
  if (crypto_generichash_init(&state, key.data(), key.size(), out.size()) != 0) std::abort();
  for (const ByteView part : parts) crypto_generichash_update(&state, part.data(), part.size());
  crypto_generichash_final(&state, out.data(), out.size());
  sodium_memzero(&state, sizeof state);
}

}  // namespace natt::detail
