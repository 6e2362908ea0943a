// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/keys.h>

#include <string>

#include <tests/support/seeded_random.h>
#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace natt::spa;

namespace {

std::array<std::uint8_t, 32> from_hex(const std::string& hex) {
  std::array<std::uint8_t, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

struct Ends {
  test::SeededRandom random{test::test_seed()};
  KeyPair device = KeyPair::generate(random);
  KeyPair verifier = KeyPair::generate(random);
  SitePsk psk{random.bytes<32>()};
  DeviceId device_id = DeviceId::of({"hq", Role::kClient, "alice"});
  DeviceId verifier_id = DeviceId::of({"hq", Role::kBroker, "b1"});
};

}  // namespace

TEST_CASE("spa keys: a secret has the public key of RFC 7748 section 6.1", "[spa][keys]") {
  const auto bob = KeyPair::from_secret(from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));

  CHECK(bob.public_key().bytes == from_hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
}

TEST_CASE("spa keys: both ends derive the same pair key", "[spa][keys]") {
  const Ends ends;

  const auto at_device =
      PairKey::derive(ends.device, ends.verifier.public_key(), ends.device_id, ends.verifier_id, ends.psk);
  const auto at_verifier =
      PairKey::derive(ends.verifier, ends.device.public_key(), ends.device_id, ends.verifier_id, ends.psk);

  REQUIRE(at_device);
  REQUIRE(at_verifier);
  CHECK(at_device->bytes == at_verifier->bytes);
}

TEST_CASE("spa keys: the address key alone is the one among all keys of its slot, and of no other", "[spa][keys]") {
  const Ends ends;
  const auto pair =
      PairKey::derive(ends.device, ends.verifier.public_key(), ends.device_id, ends.verifier_id, ends.psk);
  REQUIRE(pair);
  const Secret<32> address = SlotKeys::derive_address(*pair, Slot{27'600'000});

  CHECK(address == SlotKeys::derive(*pair, Slot{27'600'000}).address);
  CHECK_FALSE(address == SlotKeys::derive(*pair, Slot{27'600'001}).address);
}

TEST_CASE("spa keys: PSK, identities and their order enter the pair key", "[spa][keys]") {
  Ends ends;
  const PublicKey peer = ends.verifier.public_key();
  const auto base = PairKey::derive(ends.device, peer, ends.device_id, ends.verifier_id, ends.psk);
  REQUIRE(base);

  SECTION("PSK") {
    const SitePsk other(ends.random.bytes<32>());
    CHECK_FALSE(PairKey::derive(ends.device, peer, ends.device_id, ends.verifier_id, other)->bytes == base->bytes);
  }
  SECTION("order") {
    CHECK_FALSE(PairKey::derive(ends.device, peer, ends.verifier_id, ends.device_id, ends.psk)->bytes == base->bytes);
  }
}

TEST_CASE("spa keys: a low-order point is refused", "[spa][keys]") {
  const Ends ends;
  PublicKey point{};  // 0, then 1: two of the points of RFC 7748 section 6.1

  CHECK_FALSE(PairKey::derive(ends.device, point, ends.device_id, ends.verifier_id, ends.psk));
  point.bytes[0] = 1;
  CHECK_FALSE(PairKey::derive(ends.device, point, ends.device_id, ends.verifier_id, ends.psk));
}

TEST_CASE("spa keys: a slot is 64 s, and time before 1970 is slot 0", "[spa][keys]") {
  using std::chrono::milliseconds;

  CHECK(Slot::of(WallTime(milliseconds(0))).number == 0);
  CHECK(Slot::of(WallTime(milliseconds(63'999))).number == 0);
  CHECK(Slot::of(WallTime(milliseconds(64'000))).number == 1);
  CHECK(Slot::of(WallTime(milliseconds(-1))).number == 0);
}

TEST_CASE("spa keys: a device id is stable and differs between roles of one name", "[spa][keys]") {
  const Identity client{"hq", Role::kClient, "x"};

  CHECK(DeviceId::of(client) == DeviceId::of(client));
  CHECK(DeviceId::of(client) != DeviceId::of({"hq", Role::kGateway, "x"}));
}

TEST_CASE("spa keys: locked memory moves its block and starts zeroed", "[spa][keys]") {
  LockedMemory first(64);
  CHECK(std::all_of(first.bytes().begin(), first.bytes().end(), [](auto octet) { return octet == 0; }));
  first.bytes()[63] = 7;

  LockedMemory second(std::move(first));
  CHECK(second.bytes()[63] == 7);
  LockedMemory third(32);
  third = std::move(second);
  CHECK(third.bytes().size() == 64);
  CHECK(third.bytes()[63] == 7);
}
