// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/udp_carrier.h>

#include <tests/support/seeded_random.h>

#include <catch2/catch_test_macros.hpp>
#include "client_hello.h"

using namespace natt;
using namespace natt::spa;

namespace {

Frame some_frame() {
  test::SeededRandom random(test::test_seed());
  return random.bytes<kFrameSize>();
}

}  // namespace

TEST_CASE("spa udp carrier: the frame comes back", "[spa][udp_carrier]") {
  const Frame frame = some_frame();
  const ByteBuffer datagram = make_udp_carrier(frame);

  CHECK(datagram[0] == kUdpKnockFirstOctet);
  CHECK(std::equal(frame.begin(), frame.begin() + 32, datagram.begin() + 27));
  CHECK(std::equal(frame.begin() + 32, frame.end(), datagram.begin() + 60));
  CHECK(parse_udp_carrier(datagram) == frame);
}

TEST_CASE("spa udp carrier: every truncation and every extension is refused", "[spa][udp_carrier]") {
  const ByteBuffer datagram = make_udp_carrier(some_frame());
  for (std::size_t size = 0; size < datagram.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_udp_carrier(ByteView(datagram).first(size)));
  }

  ByteBuffer longer = datagram;
  longer.push_back(0);
  CHECK_FALSE(parse_udp_carrier(longer));
}

TEST_CASE("spa udp carrier: every octet of the fixed part is checked", "[spa][udp_carrier]") {
  const ByteBuffer datagram = make_udp_carrier(some_frame());
  for (std::size_t at = 0; at < 93; ++at) {
    const bool frame_octet = (at >= 27 && at < 59) || (at >= 60 && at < 92);
    for (const int difference : {1, 0x80, 0xff}) {
      ByteBuffer changed = datagram;
      changed[at] = static_cast<std::uint8_t>(changed[at] ^ difference);
      CAPTURE(at, difference);
      CHECK(parse_udp_carrier(changed).has_value() == frame_octet);
    }
  }
}

TEST_CASE("spa udp carrier: what follows the session id is not looked at", "[spa][udp_carrier]") {
  ByteBuffer datagram = make_udp_carrier(some_frame());
  datagram.back() ^= 0xff;

  CHECK(parse_udp_carrier(datagram) == some_frame());
}

TEST_CASE("spa udp carrier: a datagram above 512 octets is refused", "[spa][udp_carrier]") {
  ByteBuffer datagram = make_udp_carrier(some_frame());
  const auto resize = [&datagram](std::size_t size) {
    datagram.resize(size);
    store_be(datagram.data() + 11, static_cast<std::uint16_t>(size - 13));
    store_be(datagram.data() + 15, static_cast<std::uint16_t>(size - 25));
    store_be(datagram.data() + 23, static_cast<std::uint16_t>(size - 25));
  };

  resize(512);
  CHECK(parse_udp_carrier(datagram));
  resize(513);
  CHECK_FALSE(parse_udp_carrier(datagram));
}

TEST_CASE("spa udp carrier: every length of the ClientHello nests exactly", "[spa][udp_carrier]") {
  CHECK(test::is_client_hello_tail(ByteView(make_udp_carrier(some_frame())).subspan(93)));
}
