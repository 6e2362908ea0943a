// SPDX-License-Identifier: Apache-2.0
#include <natt/demux.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;

namespace {

constexpr DatagramKind expected_kind(unsigned first) {
  if (first <= 3) return DatagramKind::kStun;
  if (first == 0x0c) return DatagramKind::kRelay;
  if (first == 22) return DatagramKind::kKnock;
  if (first >= 64) return DatagramKind::kQuic;
  return DatagramKind::kUnknown;
}

}  // namespace

TEST_CASE("demux: every first byte has exactly one kind", "[natt][demux]") {
  for (unsigned first = 0; first < 256; ++first) {
    CAPTURE(first);
    const std::array<std::uint8_t, 1> datagram{static_cast<std::uint8_t>(first)};
    CHECK(classify_datagram(datagram) == expected_kind(first));
  }
}

TEST_CASE("demux: an empty datagram is nothing", "[natt][demux]") {
  STATIC_CHECK(classify_datagram({}) == DatagramKind::kUnknown);
  STATIC_CHECK(classify_dns_port_datagram({}) == DatagramKind::kUnknown);
}

TEST_CASE("demux: on the DNS port only the magic cookie makes STUN", "[natt][demux]") {
  std::array<std::uint8_t, 20> stun{0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42};
  CHECK(classify_dns_port_datagram(stun) == DatagramKind::kStun);
  CHECK(classify_dns_port_datagram(ByteView(stun).first(19)) == DatagramKind::kDns);

  for (std::size_t i = 4; i < 8; ++i) {
    auto damaged = stun;
    damaged[i] ^= 1;
    CHECK(classify_dns_port_datagram(damaged) == DatagramKind::kDns);
  }
  stun[0] = 4;
  CHECK(classify_dns_port_datagram(stun) == DatagramKind::kDns);
}
