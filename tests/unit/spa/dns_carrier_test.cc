// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/dns_carrier.h>

#include <tests/support/seeded_random.h>

#include <cctype>
#include <set>

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace natt::spa;

namespace {

constexpr std::size_t kDigits = 103;
constexpr std::size_t kSuffixAt = 119;

// The place of a digit of the frame in the datagram.
std::size_t digit_at(std::size_t digit) { return 13 + digit + digit / 26; }

struct Query {
  test::SeededRandom random{test::test_seed()};
  DnsSuffix suffix = *DnsSuffix::parse("k7.corp.example");
  Frame frame = random.bytes<kFrameSize>();
  ByteBuffer datagram = make_dns_carrier(frame, suffix, random);
  std::size_t question_tail = kSuffixAt + suffix.wire().size();
  std::size_t opt = question_tail + 4;

  [[nodiscard]] std::optional<Frame> parse() const { return parse_dns_carrier(datagram, suffix); }
  // Options of the OPT record, well-formed or not.
  void append_options(std::size_t size) {
    datagram.resize(opt + 11 + size, 0x5a);
    store_be(datagram.data() + opt + 9, static_cast<std::uint16_t>(size));
  }
  [[nodiscard]] bool survives(std::size_t at, std::uint8_t octet) const {
    ByteBuffer changed = datagram;
    changed[at] = octet;
    return parse_dns_carrier(changed, suffix).has_value();
  }
};

// base32hex by Horner's scheme on the whole frame as one number: slow, and unlike the code under test.
std::string base32hex(FrameView frame) {
  std::vector<unsigned> bits;
  for (const std::uint8_t octet : frame) {
    for (int bit = 7; bit >= 0; --bit) bits.push_back((octet >> bit) & 1U);
  }
  while (bits.size() % 5 != 0) bits.push_back(0);
  std::string text;
  for (std::size_t at = 0; at < bits.size(); at += 5) {
    unsigned value = 0;
    for (std::size_t i = 0; i < 5; ++i) value = value * 2 + bits[at + i];
    text += static_cast<char>(value < 10 ? '0' + value : 'a' + value - 10);
  }
  return text;
}

}  // namespace

TEST_CASE("spa dns carrier: the frame comes back", "[spa][dns_carrier]") {
  for (int i = 0; i < 100; ++i) {
    const Query query;
    CHECK(query.parse() == query.frame);
  }
  Query query;
  for (const int octet : {0x00, 0xff}) {
    query.frame.fill(static_cast<std::uint8_t>(octet));
    CHECK(parse_dns_carrier(make_dns_carrier(query.frame, query.suffix, query.random), query.suffix) == query.frame);
  }
}

TEST_CASE("spa dns carrier: the query is what RFC 1035 and RFC 6891 say", "[spa][dns_carrier]") {
  const Query query;
  const std::string digits = base32hex(query.frame);
  REQUIRE(digits.size() == kDigits);
  ByteBuffer expected(query.datagram.begin(), query.datagram.begin() + 2);
  const auto append = [&expected](std::initializer_list<int> octets) {
    for (const int octet : octets) expected.push_back(static_cast<std::uint8_t>(octet));
  };
  append({1, 0, 0, 1, 0, 0, 0, 0, 0, 1});
  for (std::size_t label = 0; label < 4; ++label) {
    const std::string text = digits.substr(label * 26, 26);
    expected.push_back(static_cast<std::uint8_t>(text.size()));
    expected.insert(expected.end(), text.begin(), text.end());
  }
  CHECK(expected[93] == 25);
  append({2, 'k', '7', 4, 'c', 'o', 'r', 'p', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0});
  append({0, query.datagram[query.question_tail + 1], 0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0});

  CHECK(query.datagram == expected);
}

TEST_CASE("spa dns carrier: ids differ and both types are asked for", "[spa][dns_carrier]") {
  Query query;
  std::set<int> ids;
  std::set<int> types;
  for (int i = 0; i < 64; ++i) {
    const ByteBuffer datagram = make_dns_carrier(query.frame, query.suffix, query.random);
    ids.insert(load_be<std::uint16_t>(datagram.data()));
    types.insert(load_be<std::uint16_t>(datagram.data() + query.question_tail));
  }
  CHECK(ids.size() > 60);
  CHECK(types == std::set<int>{1, 28});
}

TEST_CASE("spa dns carrier: a name in mixed case carries the same frame", "[spa][dns_carrier]") {
  Query query;
  for (int round = 0; round < 100; ++round) {
    Query mixed = query;
    for (std::size_t at = 13; at < query.question_tail; ++at) {
      std::uint8_t& octet = mixed.datagram[at];
      if (octet >= 'a' && octet <= 'z' && query.random.uniform(2) == 0) octet = static_cast<std::uint8_t>(octet - 32);
    }
    CHECK(mixed.parse() == query.frame);
  }
}

TEST_CASE("spa dns carrier: every truncation and every extension is refused", "[spa][dns_carrier]") {
  Query query;
  const ByteBuffer whole = query.datagram;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_dns_carrier(ByteView(whole).first(size), query.suffix));
  }
  query.datagram.push_back(0);
  CHECK_FALSE(query.parse());
}

TEST_CASE("spa dns carrier: each length off by one is refused", "[spa][dns_carrier]") {
  Query query;
  query.append_options(4);
  REQUIRE(query.parse());
  // Labels of frame and suffix, the root, and the length of the options.
  for (const std::size_t at : {std::size_t{12}, std::size_t{39}, std::size_t{66}, std::size_t{93}, kSuffixAt,
                               kSuffixAt + 3, kSuffixAt + 8, query.question_tail - 1, query.opt + 10}) {
    CAPTURE(at);
    CHECK_FALSE(query.survives(at, static_cast<std::uint8_t>(query.datagram[at] + 1)));
    CHECK_FALSE(query.survives(at, static_cast<std::uint8_t>(query.datagram[at] - 1)));
  }
  // A pointer of RFC 1035 section 4.1.4 is no label.
  for (const std::size_t at : {std::size_t{12}, std::size_t{39}, kSuffixAt}) CHECK_FALSE(query.survives(at, 0xc0));
}

TEST_CASE("spa dns carrier: of header, question tail and OPT only what forwarders change is free",
          "[spa][dns_carrier]") {
  const Query query;
  std::set<std::size_t> free{0, 1};                                                // id
  for (std::size_t at = query.opt + 3; at < query.opt + 9; ++at) free.insert(at);  // UDP size, extended flags
  const auto in_digits = [](std::size_t at) { return at >= 13 && at < kSuffixAt && at != 39 && at != 66 && at != 93; };
  for (std::size_t at = 0; at < query.datagram.size(); ++at) {
    if (in_digits(at)) continue;
    for (unsigned octet = 0; octet < 256; ++octet) {
      if (octet == query.datagram[at]) continue;
      const unsigned difference = octet ^ query.datagram[at];
      const bool other_type = at == query.question_tail + 1 && (octet == 1 || octet == 28);
      const bool other_case = at > kSuffixAt && at < query.question_tail && difference == 0x20 &&
                              std::isupper(static_cast<int>(octet)) != 0;
      const bool free_flag = (at == 2 && difference == 0x01) || (at == 3 && (difference & ~0x30U) == 0);
      CAPTURE(at, octet);
      CHECK(query.survives(at, static_cast<std::uint8_t>(octet)) ==
            (free.contains(at) || other_type || other_case || free_flag));
    }
  }
}

TEST_CASE("spa dns carrier: every other octet in place of a digit is refused or another frame", "[spa][dns_carrier]") {
  const Query query;
  for (std::size_t digit = 0; digit < kDigits; ++digit) {
    for (unsigned octet = 0; octet < 256; ++octet) {
      ByteBuffer changed = query.datagram;
      changed[digit_at(digit)] = static_cast<std::uint8_t>(octet);
      const auto frame = parse_dns_carrier(changed, query.suffix);
      const int lower = std::tolower(static_cast<int>(octet));
      const bool is_digit = (octet >= '0' && octet <= '9') || (lower >= 'a' && lower <= 'v' && octet < 0x80);
      CAPTURE(digit, octet);
      if (digit + 1 < kDigits) CHECK(frame.has_value() == is_digit);
      if (frame) CHECK((frame == query.frame) == (lower == query.datagram[digit_at(digit)]));
    }
  }
}

TEST_CASE("spa dns carrier: bits past the frame have to be zero", "[spa][dns_carrier]") {
  const Query query;
  const std::string_view digits = "0123456789abcdefghijklmnopqrstuv";
  std::size_t accepted = 0;
  for (std::size_t value = 0; value < digits.size(); ++value) {
    const bool survives = query.survives(digit_at(kDigits - 1), static_cast<std::uint8_t>(digits[value]));
    CHECK(survives == (value % 8 == 0));
    accepted += survives;
  }
  CHECK(accepted == 4);
}

TEST_CASE("spa dns carrier: another suffix is refused", "[spa][dns_carrier]") {
  Query query;
  for (const char* text : {"k8.corp.example", "k7.corp.exampla", "k7.corp", "k7.corp.example.net", "k7-corp.example",
                           "x.k7.corp.example"}) {
    CAPTURE(text);
    const DnsSuffix other = *DnsSuffix::parse(text);
    CHECK_FALSE(parse_dns_carrier(query.datagram, other));
    CHECK_FALSE(parse_dns_carrier(make_dns_carrier(query.frame, other, query.random), query.suffix));
  }
  CHECK_FALSE(parse_dns_carrier(query.datagram, DnsSuffix()));
  CHECK(parse_dns_carrier(make_dns_carrier(query.frame, DnsSuffix(), query.random), DnsSuffix()) == query.frame);
}

TEST_CASE("spa dns carrier: a name with the longest suffix stays below RFC 1035's 255 octets", "[spa][dns_carrier]") {
  Query query;
  query.suffix = *DnsSuffix::parse(std::string(60, 'x'));
  query.datagram = make_dns_carrier(query.frame, query.suffix, query.random);
  CHECK(query.parse() == query.frame);
  CHECK(query.datagram.size() == 12 + 169 + 4 + 11);
}

TEST_CASE("spa dns carrier: options are not looked at, and 512 octets are the most", "[spa][dns_carrier]") {
  Query query;
  for (std::size_t size = 0; query.opt + 11 + size <= 512; ++size) {
    query.append_options(size);
    REQUIRE(query.parse() == query.frame);
  }
  CHECK(query.datagram.size() == 512);
  query.append_options(513 - query.opt - 11);
  CHECK_FALSE(query.parse());
}

TEST_CASE("spa dns carrier: a padded query of RFC 7830 is taken", "[spa][dns_carrier]") {
  Query query;
  query.append_options(4 + 60);
  std::fill(query.datagram.begin() + static_cast<std::ptrdiff_t>(query.opt) + 11, query.datagram.end(),
            std::uint8_t{0});
  store_be(query.datagram.data() + query.opt + 11, std::uint16_t{12});
  store_be(query.datagram.data() + query.opt + 13, std::uint16_t{60});
  CHECK(query.parse() == query.frame);
}

TEST_CASE("spa dns carrier: other queries are refused", "[spa][dns_carrier]") {
  Query query;
  const auto without_opt = ByteView(query.datagram).first(query.opt);
  ByteBuffer plain(without_opt.begin(), without_opt.end());
  plain[11] = 0;
  CHECK_FALSE(parse_dns_carrier(plain, query.suffix));
  CHECK_FALSE(parse_dns_carrier({}, query.suffix));
  query.datagram[2] |= 0x80;  // a response
  CHECK_FALSE(query.parse());
}
