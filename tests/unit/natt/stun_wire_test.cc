// SPDX-License-Identifier: Apache-2.0
// The vectors of docs/WIRE.md sections 4 and 5, made with an independent program
// (Python's hmac and zlib, a SipHash of its own): the code has to produce them octet by
// octet, and the document has to print them.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>

#include <natt/stun_client.h>
#include <natt/stun_server.h>

#include "libnatt/src/punch/check_message.h"
#include "unit/natt/stun_hex.h"

namespace natt::test {
namespace {

constexpr std::string_view kRequest =
    "0001 004c 2112a442 00010203b7877127e09427cf\n"
    "0006 0010 41414141414141414141414141414141\n"
    "c7a0 0008 000001a3185c5000\n"
    "001c 0020 c01bc6d31954f1196307f9d3ea3cedd34d9b65c80d0deda5649a146f2415c59f\n"
    "8028 0004 167a23d1\n";
constexpr std::string_view kResponse =
    "0101 0038 2112a442 00010203b7877127e09427cf\n"
    "0020 0008 0001e62aea12d547\n"
    "001c 0020 05a184d2e7b220e3c7f882b910cf6c7578e43dbed2356578d3c33767b57c4f0f\n"
    "8028 0004 1734bded\n";
constexpr std::string_view kCheck =
    "0001 0058 2112a442 00010203b7877127e09427cf\n"
    "0006 0011 67617465776179313a636c69656e743031 000000\n"
    "0024 0004 6e7fffff\n"
    "802a 0008 0102030405060708\n"
    "001c 0020 1d8cc665ed64d3963c4ef16f1e208b387d4d68511eacb39ab49dfc9c80407ac3\n"
    "8028 0004 7e47bf72\n";
constexpr std::string_view kCheckResponse =
    "0101 0038 2112a442 00010203b7877127e09427cf\n"
    "0020 0008 0001bd52ea12d543\n"
    "001c 0020 12df6c977830ea5da46311fc148816ecb6e316d7566af5c243bd1f381a9dd1d3\n"
    "8028 0004 d7f67e40\n";

constexpr WallTime kTime{std::chrono::milliseconds(1'800'000'000'000)};

template <std::size_t Size>
Secret<Size> counting(std::uint8_t first) {
  Secret<Size> secret;
  std::iota(secret.mutable_view().begin(), secret.mutable_view().end(), first);
  return secret;
}

StunCredential credential() { return {std::string(16, 'A'), counting<32>(0x20), counting<16>(0)}; }

// Makes the nonce of the vectors.
class VectorRandom final : public Random {
 public:
  void fill(MutableBytes out) override {
    std::iota(out.begin(), out.end(), std::uint8_t{0});
    if (out.size() == 8) std::iota(out.begin() + 4, out.end(), std::uint8_t{0});  // the low half of a u64
  }
};

}  // namespace

TEST_CASE("stun wire: the client builds the request of docs/WIRE.md", "[natt][stun]") {
  VectorRandom random;
  REQUIRE((random.next_u64() & 0xFFFFFFFFU) == 0x00010203U);
  StunClientOptions options{.server = *SocketAddress::parse("198.51.100.10:443"), .credential = credential()};
  const auto client = std::move(*StunClient::make(std::move(options), random));

  client->start({}, kTime);

  CHECK(client->poll_transmit()->bytes == from_hex(kRequest));
}

TEST_CASE("stun wire: the server answers as docs/WIRE.md says", "[natt][stun]") {
  StunServer server({.transaction_key = counting<16>(0)});
  REQUIRE(server.add_credential({"hq", Role::kClient, "alice"}, credential()));
  std::array<std::uint8_t, kStunMaxMessageSize> out{};

  const auto reply = server.handle_datagram({}, kTime, *SocketAddress::parse("203.0.113.5:51000"),
                                            *SocketAddress::parse("198.51.100.10:443"), from_hex(kRequest), out);

  REQUIRE(reply);
  CHECK(ByteBuffer(reply->bytes.begin(), reply->bytes.end()) == from_hex(kResponse));
}

TEST_CASE("punch wire: check and answer are those of docs/WIRE.md", "[natt][punch]") {
  const auto password = counting<32>(0x20);

  const ByteBuffer check = build_check({.transaction = make_transaction_id(counting<16>(0), 0x00010203),
                                        .username = "gateway1:client01",
                                        .password = password.view(),
                                        .priority = 0x6e7fffff,
                                        .role = PunchRole::kControlling,
                                        .tie_breaker = 0x0102030405060708});
  CHECK(check == from_hex(kCheck));
  const ByteBuffer answer =
      build_check_response(*StunMessage::parse(check), *SocketAddress::parse("203.0.113.1:40000"), password.view());
  CHECK(answer == from_hex(kCheckResponse));
}

TEST_CASE("stun wire: docs/WIRE.md prints the vectors", "[natt][stun]") {
  std::ifstream file(NATT_SOURCE_DIR "/docs/WIRE.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};

  for (const std::string_view vector : {kRequest, kResponse, kCheck, kCheckResponse}) {
    INFO(vector);
    CHECK(text.find(vector) != std::string::npos);
  }
}

}  // namespace natt::test
