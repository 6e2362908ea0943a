// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/quic_initial.h>

#include <tests/support/seeded_random.h>
#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace natt::spa;

namespace {

struct InitialParts {
  std::uint8_t first = 0xc3;
  std::uint32_t version = kQuicVersion1;
  ByteBuffer dcid = ByteBuffer(8, 0xdd);
  ByteBuffer scid = ByteBuffer(16, 0x55);
  ByteBuffer token_length{0x40, 0x40};
  ByteBuffer token = ByteBuffer(64, 0x77);
  std::uint16_t length = 0x4000 | 1000;
  std::size_t size = 1200;

  [[nodiscard]] ByteBuffer datagram() const {
    ByteBuffer out;
    ByteWriter writer(out);
    writer.write(first);
    writer.write(version);
    writer.write(static_cast<std::uint8_t>(dcid.size()));
    writer.write_bytes(dcid);
    writer.write(static_cast<std::uint8_t>(scid.size()));
    writer.write_bytes(scid);
    writer.write_bytes(token_length);
    writer.write_bytes(token);
    writer.write(length);
    out.resize(size, 0xee);
    return out;
  }
  [[nodiscard]] bool parses() const { return parse_quic_initial(datagram()).has_value(); }
};

}  // namespace

TEST_CASE("spa quic initial: connection IDs and token are found", "[spa][quic_initial]") {
  const InitialParts parts;
  const ByteBuffer datagram = parts.datagram();
  const auto initial = parse_quic_initial(datagram);

  REQUIRE(initial);
  CHECK(initial->version == kQuicVersion1);
  CHECK(std::equal(initial->dcid.begin(), initial->dcid.end(), parts.dcid.begin(), parts.dcid.end()));
  CHECK(std::equal(initial->scid.begin(), initial->scid.end(), parts.scid.begin(), parts.scid.end()));
  CHECK(std::equal(initial->token.begin(), initial->token.end(), parts.token.begin(), parts.token.end()));
}

TEST_CASE("spa quic initial: each version has its own Initial type", "[spa][quic_initial]") {
  for (int first = 0; first < 256; ++first) {
    InitialParts parts;
    parts.first = static_cast<std::uint8_t>(first);
    CAPTURE(first);
    CHECK(parts.parses() == ((first & 0xf0) == 0xc0));
    parts.version = kQuicVersion2;
    CHECK(parts.parses() == ((first & 0xf0) == 0xd0));
  }
}

TEST_CASE("spa quic initial: other versions are refused", "[spa][quic_initial]") {
  for (const std::uint32_t version : {0u, 2u, 0xff00'001du, 0x0a0a'0a0au, 0x6b33'43ceu, 0xffff'ffffu}) {
    InitialParts parts;
    parts.version = version;
    CAPTURE(version);
    CHECK_FALSE(parts.parses());
  }
}

TEST_CASE("spa quic initial: connection ID lengths have their bounds", "[spa][quic_initial]") {
  for (std::size_t size = 0; size <= 30; ++size) {
    InitialParts parts;
    parts.dcid.assign(size, 1);
    CAPTURE(size);
    CHECK(parts.parses() == (size >= 8 && size <= 20));
    parts = {};
    parts.scid.assign(size, 1);
    CHECK(parts.parses() == (size <= 20));
  }
}

TEST_CASE("spa quic initial: only a token of 64 octets in the shortest encoding passes", "[spa][quic_initial]") {
  InitialParts parts;
  SECTION("63") { parts.token_length = {0x3f}; }
  SECTION("65") { parts.token_length = {0x40, 0x41}; }
  SECTION("none") { parts.token_length = {0x00}; }
  SECTION("64 in four octets") { parts.token_length = {0x80, 0, 0, 0x40}; }
  SECTION("64 in eight octets") { parts.token_length = {0xc0, 0, 0, 0, 0, 0, 0, 0x40}; }

  CHECK_FALSE(parts.parses());
}

TEST_CASE("spa quic initial: a datagram below 1200 octets is refused", "[spa][quic_initial]") {
  InitialParts parts;
  CHECK(parts.parses());
  parts.size = 1199;
  CHECK_FALSE(parts.parses());
}

TEST_CASE("spa quic initial: a packet longer than the datagram is refused", "[spa][quic_initial]") {
  InitialParts parts;
  const auto rest = static_cast<std::uint16_t>(1200 - (1 + 4 + 1 + 8 + 1 + 16 + 2 + 64 + 2));
  parts.length = static_cast<std::uint16_t>(0x4000 | rest);
  CHECK(parts.parses());
  ++parts.length;
  CHECK_FALSE(parts.parses());
}

TEST_CASE("spa quic initial: no prefix of the header is read beyond its end", "[spa][quic_initial]") {
  const ByteBuffer datagram = InitialParts{}.datagram();
  for (std::size_t size = 0; size < datagram.size(); ++size) {
    const ByteBuffer exact(datagram.begin(), datagram.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_FALSE(parse_quic_initial(exact));
  }
}
