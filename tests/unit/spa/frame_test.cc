// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/frame.h>

#include <set>

#include <tests/support/seeded_random.h>
#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace natt::spa;

namespace {

struct Sealed {
  test::SeededRandom random{test::test_seed()};
  KeyPair device = KeyPair::generate(random);
  KeyPair verifier = KeyPair::generate(random);
  SitePsk psk{random.bytes<32>()};
  MaskKey mask{random.bytes<16>()};
  DeviceId device_id{random.bytes<16>()};
  DeviceId verifier_id{random.bytes<16>()};
  PairKey pair = *PairKey::derive(device, verifier.public_key(), device_id, verifier_id, psk);
  SlotKeys keys = SlotKeys::derive(pair, Slot{27'600'000});
  FrameContext context{Transport::kTcp, verifier_id, 443, ChannelBinding{random.bytes<32>()}};
  FrameBody body{.type = FrameType::kRelayJoin,
                 .flags = 0xa5,
                 .key_generation = 0x0102,
                 .timestamp = WallTime(std::chrono::milliseconds(0x0102'0304'0506)),
                 .knock_id = 0xbeef,
                 .tag = {1, 2, 3, 4, 5, 6, 7, 8}};
  Frame frame = seal_frame(keys, mask, context, body, random.bytes<kNonceSize>());

  [[nodiscard]] bool accepts(const Frame& candidate) const {
    return unmask_hint(candidate, mask) == keys.hint &&
           prefilter_matches(candidate, context.transport, keys.prefilter.view()) &&
           open_frame(candidate, context, keys.aead.view()).has_value();
  }
};

}  // namespace

TEST_CASE("spa frame: what was sealed opens to the same body", "[spa][frame]") {
  const Sealed sealed;

  CHECK(sealed.accepts(sealed.frame));
  CHECK(open_frame(sealed.frame, sealed.context, sealed.keys.aead.view()) == sealed.body);
}

TEST_CASE("spa frame: the largest and the smallest body survive", "[spa][frame]") {
  Sealed sealed;
  FrameBody largest{.version = 15,
                    .type = static_cast<FrameType>(15),
                    .flags = 0xff,
                    .key_generation = 0xffff,
                    .timestamp = WallTime(std::chrono::milliseconds(0xffff'ffff'ffff)),
                    .knock_id = 0xffff};
  largest.tag.fill(0xff);
  const FrameBody smallest{.version = 0, .type = static_cast<FrameType>(0)};

  for (const FrameBody& body : {largest, smallest}) {
    const Frame frame = seal_frame(sealed.keys, sealed.mask, sealed.context, body, sealed.random.bytes<kNonceSize>());
    CHECK(open_frame(frame, sealed.context, sealed.keys.aead.view()) == body);
  }
}

TEST_CASE("spa frame: every single-bit flip is refused, by P and without P", "[spa][frame]") {
  const Sealed sealed;
  for (std::size_t bit = 0; bit < 8 * kFrameSize; ++bit) {
    Frame flipped = sealed.frame;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
    CAPTURE(bit);

    CHECK_FALSE(prefilter_matches(flipped, sealed.context.transport, sealed.keys.prefilter.view()));
    // The AEAD covers everything but the masked hint (which selects the key) and P itself.
    const bool covered = bit / 8 < 12 || (bit / 8 >= 20 && bit / 8 < 56);
    CHECK(open_frame(flipped, sealed.context, sealed.keys.aead.view()).has_value() != covered);
    if (bit / 8 < 20) CHECK(unmask_hint(flipped, sealed.mask) != sealed.keys.hint);
  }
}

TEST_CASE("spa frame: every part of the context is authenticated", "[spa][frame]") {
  const Sealed sealed;
  const auto opens = [&sealed](const FrameContext& context) {
    return open_frame(sealed.frame, context, sealed.keys.aead.view()).has_value();
  };
  FrameContext other = sealed.context;
  REQUIRE(opens(other));

  SECTION("transport") { other.transport = Transport::kUdp; }
  SECTION("verifier") { other.verifier.bytes[15] ^= 1; }
  SECTION("port") { other.port ^= 1; }
  SECTION("channel binding") { other.binding.bytes[31] ^= 1; }

  CHECK_FALSE(opens(other));
}

TEST_CASE("spa frame: P does not match on another transport", "[spa][frame]") {
  const Sealed sealed;
  for (const Transport transport : {Transport::kUdp, Transport::kDns, Transport::kQuicToken}) {
    CHECK_FALSE(prefilter_matches(sealed.frame, transport, sealed.keys.prefilter.view()));
  }
}

TEST_CASE("spa frame: keys of another slot or device do not open", "[spa][frame]") {
  const Sealed sealed;
  const SlotKeys next = SlotKeys::derive(sealed.pair, Slot{27'600'001});

  CHECK(next.hint != sealed.keys.hint);
  CHECK_FALSE(prefilter_matches(sealed.frame, sealed.context.transport, next.prefilter.view()));
  CHECK_FALSE(open_frame(sealed.frame, sealed.context, next.aead.view()).has_value());
}

TEST_CASE("spa frame: two frames of one body share no octet position beyond chance", "[spa][frame]") {
  Sealed sealed;
  std::size_t equal = 0;
  constexpr int kFrames = 200;
  for (int i = 0; i < kFrames; ++i) {
    const Frame again =
        seal_frame(sealed.keys, sealed.mask, sealed.context, sealed.body, sealed.random.bytes<kNonceSize>());
    for (std::size_t at = 0; at < kFrameSize; ++at) equal += again[at] == sealed.frame[at];
  }

  // 200 x 64 comparisons at 1/256: 50 expected, standard deviation 7.
  CHECK(equal < 120);
}

TEST_CASE("spa frame: connection IDs are bound with their boundary", "[spa][frame]") {
  const ByteBuffer ids{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
  const ByteView view(ids);

  CHECK(ChannelBinding::of_connection_ids(view.first(8), view.subspan(8)) !=
        ChannelBinding::of_connection_ids(view.first(9), view.subspan(9)));
}

TEST_CASE("spa frame: the address tag depends on the address and is the same for both notations", "[spa][frame]") {
  const Sealed sealed;
  const auto v4 = IpAddress::v4({192, 0, 2, 1});
  const auto mapped = IpAddress::parse("::ffff:192.0.2.1");

  CHECK(make_address_tag(sealed.keys.address, v4) == make_address_tag(sealed.keys.address, *mapped));
  CHECK(make_address_tag(sealed.keys.address, v4) !=
        make_address_tag(sealed.keys.address, IpAddress::v4({192, 0, 2, 2})));
}
