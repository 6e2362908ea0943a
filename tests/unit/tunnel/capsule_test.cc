// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <natt/tunnel/capsule.h>
#include <natt/tunnel/streams.h>

#include "libtunnel/src/masque/capsule_reader.h"
#include "libtunnel/src/masque/varint.h"
#include "support/seeded_random.h"

using namespace natt;
using namespace natt::tunnel;

namespace {

IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }
IpRange range(const char* text, std::uint8_t protocol = 0) {
  IpRange made = range_of(prefix(text));
  made.protocol = protocol;
  return made;
}

// docs/WIRE.md section 7.4.
const ByteBuffer kAssign = {
    0x01, 0x0e,                          // ADDRESS_ASSIGN, 14 octets
    0x01, 0x04, 10, 200, 0, 2, 32,       // answers request 1: 10.200.0.2/32
    0x00, 0x04, 10, 200, 0, 3, 24,       // unasked: 10.200.0.3/24
};
const ByteBuffer kRoutes = {
    0x03, 0x0a,                                    // ROUTE_ADVERTISEMENT, 10 octets
    0x04, 10, 99, 0, 0, 10, 99, 0, 255, 0x00,      // 10.99.0.0-10.99.0.255, all protocols
};

ControlCapsule assign_of_vector() {
  return AddressAssign{{{1, prefix("10.200.0.2/32")}, {0, prefix("10.200.0.3/24")}}};
}

std::optional<ControlCapsule> parse_whole(ByteView bytes) {
  ByteReader in(bytes);
  const auto type = read_varint(in);
  const auto length = read_varint(in);
  if (!type || !length || *length != in.rest().size()) return std::nullopt;
  return parse_capsule_value(static_cast<CapsuleType>(*type), in.rest());
}

}  // namespace

TEST_CASE("varint: the examples of RFC 9000 appendix A.1 decode", "[tunnel][varint]") {
  const auto [bytes, value] = GENERATE(table<ByteBuffer, std::uint64_t>({
      {{0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c}, 151288809941952652U},
      {{0x9d, 0x7f, 0x3e, 0x7d}, 494878333U},
      {{0x7b, 0xbd}, 15293U},
      {{0x25}, 37U},
      {{0x40, 0x25}, 37U},  // longer than necessary is valid
  }));
  ByteReader in(bytes);
  CHECK(read_varint(in) == value);
  CHECK(in.empty());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ByteReader cut(ByteView{bytes}.first(size));
    CHECK_FALSE(read_varint(cut));
  }
}

TEST_CASE("varint: sizes change where RFC 9000 says and everything round-trips", "[tunnel][varint]") {
  const auto [value, size] = GENERATE(table<std::uint64_t, std::size_t>({{0, 1}, {63, 1}, {64, 2}, {16383, 2}, {16384, 4},
                                                                         {1073741823, 4}, {1073741824, 8}, {kMaxVarint, 8}}));
  ByteBuffer bytes;
  write_varint(bytes, value);
  CHECK(bytes.size() == size);
  ByteReader in(bytes);
  CHECK(read_varint(in) == value);
}

TEST_CASE("capsule: the vectors of docs/WIRE.md parse and serialize to the same bytes", "[tunnel][capsule]") {
  CHECK(parse_whole(kAssign) == assign_of_vector());
  CHECK(parse_whole(kRoutes) == ControlCapsule{RouteAdvertisement{{range("10.99.0.0/24")}}});
  for (const ByteBuffer& vector : {kAssign, kRoutes}) {
    ByteBuffer again;
    REQUIRE(serialize_capsule(*parse_whole(vector), again));
    CHECK(again == vector);
  }
}

TEST_CASE("capsule: no truncation and no trailing octet of a value is accepted", "[tunnel][capsule]") {
  const auto [type, whole, valid_cut] = GENERATE(table<CapsuleType, ByteBuffer, std::size_t>({
      {CapsuleType::kAddressAssign, ByteBuffer(kAssign.begin() + 2, kAssign.end()), 7},
      {CapsuleType::kRouteAdvertisement, ByteBuffer(kRoutes.begin() + 2, kRoutes.end()), 10},
      {CapsuleType::kAddressRequest, {0x01, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128}, 19},
  }));
  CHECK(parse_capsule_value(type, whole));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(parse_capsule_value(type, ByteView{whole}.first(size)).has_value() == (size == valid_cut));
  }
  ByteBuffer longer = whole;
  longer.push_back(0);
  CHECK_FALSE(parse_capsule_value(type, longer));
}

TEST_CASE("capsule: an empty request is malformed, an empty assignment or advertisement is not", "[tunnel][capsule]") {
  CHECK_FALSE(parse_capsule_value(CapsuleType::kAddressRequest, {}));
  CHECK(parse_capsule_value(CapsuleType::kAddressAssign, {}) == ControlCapsule{AddressAssign{}});
  CHECK(parse_capsule_value(CapsuleType::kRouteAdvertisement, {}) == ControlCapsule{RouteAdvertisement{}});
  CHECK_FALSE(parse_capsule_value(CapsuleType::kDatagram, {}));
  CHECK_FALSE(parse_capsule_value(static_cast<CapsuleType>(0x99), {}));
}

TEST_CASE("capsule: values that RFC 9484 forbids are refused", "[tunnel][capsule]") {
  const auto [name, type, value] = GENERATE(table<std::string, CapsuleType, ByteBuffer>({
      {"IP version 5", CapsuleType::kAddressAssign, {0, 5, 10, 0, 0, 1, 32}},
      {"IPv4 prefix longer than 32", CapsuleType::kAddressAssign, {0, 4, 10, 0, 0, 1, 33}},
      {"IPv6 prefix longer than 128", CapsuleType::kAddressAssign, {0, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 129}},
      {"v4-mapped IPv6", CapsuleType::kAddressAssign, {0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1, 128}},
      {"request id 0", CapsuleType::kAddressRequest, {0, 4, 0, 0, 0, 0, 32}},
      {"request id twice", CapsuleType::kAddressRequest, {1, 4, 0, 0, 0, 0, 32, 1, 4, 0, 0, 0, 0, 32}},
      {"range backwards", CapsuleType::kRouteAdvertisement, {4, 10, 0, 0, 2, 10, 0, 0, 1, 0}},
      {"ranges overlap", CapsuleType::kRouteAdvertisement, {4, 10, 0, 0, 0, 10, 0, 0, 9, 0, 4, 10, 0, 0, 9, 10, 0, 0, 12, 0}},
      {"ranges unsorted", CapsuleType::kRouteAdvertisement, {4, 10, 0, 1, 0, 10, 0, 1, 9, 0, 4, 10, 0, 0, 0, 10, 0, 0, 9, 0}},
      {"protocol unsorted", CapsuleType::kRouteAdvertisement, {4, 10, 0, 0, 0, 10, 0, 0, 9, 17, 4, 10, 0, 1, 0, 10, 0, 1, 9, 6}},
  }));
  CAPTURE(name);
  CHECK_FALSE(parse_capsule_value(type, value));
}

TEST_CASE("capsule: adjacent ranges and one range for several protocols are fine", "[tunnel][capsule]") {
  const auto routes = make_route_advertisement(
      {range("2001:db8::/32"), range("10.0.1.0/24"), range("10.0.0.0/24"), range("10.0.0.0/24", 6)});
  REQUIRE(routes);
  REQUIRE(routes->ranges.size() == 4);
  CHECK(routes->ranges[0] == range("10.0.0.0/24"));
  CHECK(routes->ranges[3] == range("2001:db8::/32"));
  ByteBuffer bytes;
  REQUIRE(serialize_capsule(*routes, bytes));
  CHECK(parse_whole(bytes) == ControlCapsule{*routes});
  CHECK_FALSE(make_route_advertisement({range("10.0.0.0/8"), range("10.0.0.0/24")}));
}

TEST_CASE("capsule: the number of entries is bounded both ways", "[tunnel][capsule]") {
  AddressAssign assign;
  for (std::size_t i = 0; i < kMaxCapsuleEntries; ++i) assign.addresses.push_back({0, prefix("10.0.0.1/32")});
  ByteBuffer bytes;
  REQUIRE(serialize_capsule(assign, bytes));
  CHECK(parse_whole(bytes));
  ByteBuffer value(bytes.end() - static_cast<std::ptrdiff_t>(7 * kMaxCapsuleEntries), bytes.end());
  value.insert(value.end(), value.begin(), value.begin() + 7);
  CHECK_FALSE(parse_capsule_value(CapsuleType::kAddressAssign, value));
  assign.addresses.push_back(assign.addresses[0]);
  ByteBuffer none;
  CHECK_FALSE(serialize_capsule(assign, none));
  CHECK(none.empty());
}

TEST_CASE("capsule reader: capsules come out whole whatever the pieces", "[tunnel][capsule]") {
  ByteBuffer stream = kAssign;
  const ByteBuffer datagram = {0x00, 0x04, 0x00, 'a', 'b', 'c'};
  const ByteBuffer other_context = {0x00, 0x02, 0x07, 'x'};
  const ByteBuffer unknown = {0x40, 0x99, 0x03, 1, 2, 3};
  const ByteBuffer empty_datagram = {0x00, 0x01, 0x00};
  for (const ByteBuffer* const part : {&datagram, &unknown, &other_context, &kRoutes, &empty_datagram}) {
    stream.insert(stream.end(), part->begin(), part->end());
  }
  const auto step = GENERATE(Catch::Generators::range(std::size_t{1}, std::size_t{60}));
  CAPTURE(step);
  CapsuleReader reader;
  std::vector<std::string> seen;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    ByteView bytes = ByteView{stream}.subspan(at, std::min(step, stream.size() - at));
    while (const auto item = reader.read(bytes)) {
      if (const auto* const d = std::get_if<CapsuleReader::DatagramPayload>(&*item)) {
        seen.emplace_back(as_text(d->payload));
      } else if (const auto* const control = std::get_if<ControlCapsule>(&*item)) {
        seen.push_back("control" + std::to_string(control->index()));
      } else {
        seen.emplace_back("malformed");
        break;
      }
    }
    CHECK(bytes.empty());
  }
  CHECK(seen == std::vector<std::string>{"control0", "abc", "control2", ""});
  CHECK(reader.at_boundary());
}

TEST_CASE("capsule reader: a broken control capsule is malformed for good", "[tunnel][capsule]") {
  const auto bytes = GENERATE(ByteBuffer{0x02, 0x00},                    // empty request
                              ByteBuffer{0x01, 0x80, 0x01, 0x00, 0x00},  // 65,536 octets: over the limit
                              ByteBuffer{0x00, 0x00});                   // DATAGRAM without context id
  CapsuleReader reader;
  ByteView view = bytes;
  const auto item = reader.read(view);
  REQUIRE(item);
  CHECK(std::holds_alternative<CapsuleReader::Malformed>(*item));
  ByteView more = kAssign;
  const auto again = reader.read(more);
  REQUIRE(again);
  CHECK(std::holds_alternative<CapsuleReader::Malformed>(*again));
}

TEST_CASE("capsule reader: what cannot be forwarded is skipped without being held", "[tunnel][capsule]") {
  CapsuleReader reader;
  ByteBuffer header;
  write_varint(header, 0);        // DATAGRAM
  write_varint(header, 100'000);  // larger than any link
  ByteView view = header;
  CHECK_FALSE(reader.read(view));
  const ByteBuffer rest(100'000, 1);
  view = rest;
  CHECK_FALSE(reader.read(view));
  CHECK(reader.at_boundary());
  view = kRoutes;
  CHECK(reader.read(view));
}
