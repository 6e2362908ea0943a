// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/tls_hello_carrier.h>

#include <tests/support/seeded_random.h>

#include <catch2/catch_test_macros.hpp>
#include "client_hello.h"

using namespace natt;
using namespace natt::spa;
using State = TlsHelloReader::State;
using std::chrono::milliseconds;

namespace {

const Instant kNow{std::chrono::hours(1)};

struct Hello {
  test::SeededRandom random{test::test_seed()};
  Frame frame = random.bytes<kFrameSize>();
  ByteBuffer record1 = make_tls_hello_record(frame, random);
  ByteBuffer record2{0x16, 0x03, 0x01, 0x00, 0x04, 1, 2, 3, 4};

  [[nodiscard]] ByteBuffer stream() const {
    ByteBuffer all = record1;
    all.insert(all.end(), record2.begin(), record2.end());
    return all;
  }
};

// Everything that the reader takes of `bytes`, `piece` octets at a time.
std::size_t feed(TlsHelloReader& reader, ByteView bytes, std::size_t piece) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const ByteView part = bytes.subspan(taken, std::min(piece, bytes.size() - taken));
    const std::size_t took = reader.handle_bytes(kNow, part);
    if (took == 0) break;
    taken += took;
  }
  return taken;
}

}  // namespace

TEST_CASE("spa tls hello: frame and record 2 come back however the stream is cut", "[spa][tls_hello]") {
  const Hello hello;
  const ByteBuffer stream = hello.stream();
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    TlsHelloReader reader(kNow);
    CAPTURE(piece);

    CHECK(feed(reader, stream, piece) == stream.size());
    REQUIRE(reader.state() == State::kComplete);
    CHECK(std::equal(hello.frame.begin(), hello.frame.end(), reader.frame().begin()));
    CHECK(std::equal(hello.record2.begin(), hello.record2.end(), reader.record2().begin(), reader.record2().end()));
    CHECK(reader.binding() == ChannelBinding::of_record(hello.record2));
  }
}

TEST_CASE("spa tls hello: the reader stops between the records and after them", "[spa][tls_hello]") {
  const Hello hello;
  ByteBuffer stream = hello.stream();
  stream.insert(stream.end(), {0x17, 0x03, 0x03});
  TlsHelloReader reader(kNow);

  CHECK(reader.handle_bytes(kNow, stream) == hello.record1.size());
  CHECK(reader.state() == State::kFrame);
  CHECK(reader.handle_bytes(kNow, ByteView(stream).subspan(hello.record1.size())) == hello.record2.size());
  CHECK(reader.state() == State::kComplete);
  CHECK(reader.handle_bytes(kNow, ByteView(stream).last(3)) == 0);
  CHECK(reader.state() == State::kComplete);
}

TEST_CASE("spa tls hello: every truncation leaves the reader waiting", "[spa][tls_hello]") {
  const Hello hello;
  const ByteBuffer stream = hello.stream();
  for (std::size_t size = 0; size < stream.size(); ++size) {
    TlsHelloReader reader(kNow);
    (void)feed(reader, ByteView(stream).first(size), 7);
    CAPTURE(size);
    CHECK(reader.state() != State::kComplete);
    CHECK(reader.state() != State::kFailed);
  }
}

TEST_CASE("spa tls hello: every octet around the frame is checked", "[spa][tls_hello]") {
  const Hello hello;
  for (std::size_t at = 0; at < 76; ++at) {
    const bool frame_octet = (at >= 11 && at < 43) || at >= 44;
    ByteBuffer stream = hello.stream();
    stream[at] ^= 0x80;
    TlsHelloReader reader(kNow);
    (void)feed(reader, stream, stream.size());
    CAPTURE(at);
    CHECK((reader.state() == State::kComplete) == frame_octet);
    if (!frame_octet) CHECK(reader.state() == State::kFailed);
  }
}

TEST_CASE("spa tls hello: the length of record 1 has its bounds", "[spa][tls_hello]") {
  const auto state_with_length = [](std::uint16_t length) {
    TlsHelloReader reader(kNow);
    const ByteBuffer header{0x16, 0x03, 0x01, static_cast<std::uint8_t>(length >> 8),
                            static_cast<std::uint8_t>(length & 0xff)};
    (void)reader.handle_bytes(kNow, header);
    return reader.state();
  };

  CHECK(state_with_length(70) == State::kFailed);
  CHECK(state_with_length(71) == State::kRecord1);
  CHECK(state_with_length(512) == State::kRecord1);
  CHECK(state_with_length(513) == State::kFailed);
  CHECK(state_with_length(0) == State::kFailed);
  CHECK(state_with_length(0xffff) == State::kFailed);
}

TEST_CASE("spa tls hello: record 2 has its types, versions and bounds", "[spa][tls_hello]") {
  const Hello hello;
  const auto state_after = [&hello](ByteBuffer header) {
    TlsHelloReader reader(kNow);
    (void)reader.handle_bytes(kNow, hello.record1);
    (void)reader.handle_bytes(kNow, header);
    return reader.state();
  };

  CHECK(state_after({0x16, 0x03, 0x01, 0x0f, 0xfb}) == State::kRecord2);  // 4091 + 5 = 4096
  CHECK(state_after({0x16, 0x03, 0x03, 0x00, 0x01}) == State::kRecord2);
  CHECK(state_after({0x17, 0x03, 0x03, 0x00, 0x10}) == State::kRecord2);
  CHECK(state_after({0x16, 0x03, 0x01, 0x0f, 0xfc}) == State::kFailed);
  CHECK(state_after({0x16, 0x03, 0x01, 0xff, 0xff}) == State::kFailed);
  CHECK(state_after({0x16, 0x03, 0x01, 0x00, 0x00}) == State::kFailed);
  CHECK(state_after({0x16, 0x03, 0x02, 0x00, 0x10}) == State::kFailed);
  CHECK(state_after({0x16, 0x02, 0x01, 0x00, 0x10}) == State::kFailed);
  CHECK(state_after({0x15, 0x03, 0x01, 0x00, 0x10}) == State::kFailed);
}

TEST_CASE("spa tls hello: three seconds are the end in every state but complete", "[spa][tls_hello]") {
  const Hello hello;
  const ByteBuffer stream = hello.stream();
  const Instant deadline = kNow + TlsHelloReader::kReadTimeout;
  for (const std::size_t read : {std::size_t{0}, std::size_t{20}, hello.record1.size(), hello.record1.size() + 3,
                                 hello.record1.size() + 7, stream.size()}) {
    TlsHelloReader reader(kNow);
    (void)feed(reader, ByteView(stream).first(read), stream.size());
    const bool complete = read == stream.size();
    CAPTURE(read);

    CHECK(reader.next_deadline() == (complete ? std::nullopt : std::optional(deadline)));
    reader.handle_timeout(deadline - milliseconds(1));
    CHECK(reader.state() != State::kFailed);
    reader.handle_timeout(deadline);
    CHECK(reader.state() == (complete ? State::kComplete : State::kFailed));
    CHECK_FALSE(reader.next_deadline());
    CHECK(reader.handle_bytes(deadline, stream) == 0);
  }
}

TEST_CASE("spa tls hello: bytes that come after the deadline are not read", "[spa][tls_hello]") {
  const Hello hello;
  TlsHelloReader reader(kNow);

  CHECK(reader.handle_bytes(kNow + TlsHelloReader::kReadTimeout, hello.record1) == 0);
  CHECK(reader.state() == State::kFailed);
}

TEST_CASE("spa tls hello: a pairing record carries its token and nothing else does", "[spa][tls_hello]") {
  test::SeededRandom random(test::test_seed());
  const PairingToken token = random.bytes<kPairingTokenSize>();
  const ByteBuffer record = make_pairing_record(token);

  CHECK(parse_pairing_record(record) == token);
  for (std::size_t size = 0; size < record.size(); ++size) {
    CHECK_FALSE(parse_pairing_record(ByteView(record).first(size)));
  }
  for (std::size_t at = 0; at < 5; ++at) {
    ByteBuffer changed = record;
    changed[at] ^= 1;
    CHECK_FALSE(parse_pairing_record(changed));
  }
  ByteBuffer longer = record;
  longer.push_back(0);
  CHECK_FALSE(parse_pairing_record(longer));
}

TEST_CASE("spa tls hello: every length of record 1 nests exactly", "[spa][tls_hello]") {
  CHECK(test::is_client_hello_tail(ByteView(Hello{}.record1).subspan(76)));
}
