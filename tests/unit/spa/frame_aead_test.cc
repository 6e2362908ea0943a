// SPDX-License-Identifier: Apache-2.0
// The AEAD put together from libsodium's parts is libsodium's AEAD.
#include "libspa/src/frame_aead.h"

#include <sodium.h>

#include <tests/support/seeded_random.h>
#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace natt::spa;

namespace {

struct Sealed {
  SealedOctets cipher{};
  std::array<std::uint8_t, kTagSize> tag{};
  friend bool operator==(const Sealed&, const Sealed&) = default;
};

struct Inputs {
  explicit Inputs(Random& random) {
    random.fill(key);
    random.fill(nonce);
    random.fill(associated);
    random.fill(plain);
  }
  [[nodiscard]] FrameAead aead() const { return {key, nonce, associated}; }
  [[nodiscard]] Sealed seal() const {
    Sealed out;
    aead().seal(plain, out.cipher, out.tag);
    return out;
  }
  [[nodiscard]] Sealed seal_by_library() const {
    Sealed out;
    crypto_aead_chacha20poly1305_ietf_encrypt_detached(out.cipher.data(), out.tag.data(), nullptr, plain.data(),
                                                       plain.size(), associated.data(), associated.size(), nullptr,
                                                       nonce.data(), key.data());
    return out;
  }
  [[nodiscard]] std::optional<SealedOctets> open_by_library(const Sealed& sealed) const {
    SealedOctets out{};
    if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(out.data(), nullptr, sealed.cipher.data(),
                                                           sealed.cipher.size(), sealed.tag.data(), associated.data(),
                                                           associated.size(), nonce.data(), key.data()) != 0) {
      return std::nullopt;
    }
    return out;
  }

  std::array<std::uint8_t, 32> key{};
  std::array<std::uint8_t, 12> nonce{};
  AssociatedData associated{};
  SealedOctets plain{};
};

void flip(MutableBytes bytes, std::size_t bit) {
  bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
}

}  // namespace

TEST_CASE("spa frame aead: 100,000 random frames are sealed and opened as by libsodium's own call", "[spa][frame]") {
  test::SeededRandom random(test::test_seed());
  std::size_t different = 0;
  for (int i = 0; i < 100'000; ++i) {
    const Inputs inputs(random);
    const Sealed sealed = inputs.seal();
    if (sealed != inputs.seal_by_library()) ++different;
    if (inputs.open_by_library(sealed) != inputs.plain) ++different;
    if (inputs.aead().open(sealed.cipher, sealed.tag) != inputs.plain) ++different;
  }

  CHECK(different == 0);
}

TEST_CASE("spa frame aead: every flipped bit is refused, as by libsodium's own call", "[spa][frame]") {
  test::SeededRandom random(test::test_seed());
  for (int i = 0; i < 20; ++i) {
    const Inputs inputs(random);
    const Sealed sealed = inputs.seal();
    const auto refused = [&sealed](const Inputs& by, const Sealed& altered) {
      return !by.aead().open(altered.cipher, altered.tag) && !by.open_by_library(altered) && sealed == by.seal();
    };
    for (std::size_t bit = 0; bit < 8 * kSealedSize; ++bit) {
      Sealed altered = sealed;
      flip(altered.cipher, bit);
      CAPTURE(i, bit);
      CHECK(refused(inputs, altered));
    }
    for (std::size_t bit = 0; bit < 8 * kTagSize; ++bit) {
      Sealed altered = sealed;
      flip(altered.tag, bit);
      CAPTURE(i, bit);
      CHECK(refused(inputs, altered));
    }
  }
}

TEST_CASE("spa frame aead: key, nonce and every associated octet are authenticated", "[spa][frame]") {
  test::SeededRandom random(test::test_seed());
  const Inputs inputs(random);
  const Sealed sealed = inputs.seal();
  const auto opens = [&sealed](const Inputs& by) { return by.aead().open(sealed.cipher, sealed.tag).has_value(); };
  REQUIRE(opens(inputs));

  for (std::size_t bit = 0; bit < 8 * kAssociatedDataSize; ++bit) {
    Inputs other = inputs;
    flip(other.associated, bit);
    CAPTURE(bit);
    CHECK_FALSE(opens(other));
    CHECK_FALSE(other.open_by_library(sealed));
  }
  for (std::size_t bit = 0; bit < 8 * 12; ++bit) {
    Inputs other = inputs;
    flip(other.nonce, bit);
    CHECK_FALSE(opens(other));
  }
  for (std::size_t bit = 0; bit < 8 * 32; ++bit) {
    Inputs other = inputs;
    flip(other.key, bit);
    CHECK_FALSE(opens(other));
  }
}
