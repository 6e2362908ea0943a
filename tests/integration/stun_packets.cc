// SPDX-License-Identifier: Apache-2.0
// Prints one packet of each kind that we put on the wire as STUN, `name hex`, for
// tests/integration/stun_peers.py to show to tshark.

#include <array>
#include <cstdio>
#include <string>
#include <utility>

#include <natt/stun_client.h>
#include <natt/stun_server.h>

#include "libnatt/src/punch/check_message.h"

using namespace natt;

namespace {

void print(const char* name, ByteView bytes) {
  std::printf("%s ", name);
  for (const std::uint8_t octet : bytes) std::printf("%02x", octet);
  std::printf("\n");
}

}  // namespace

int main() {
  SystemRandom random;
  const WallTime wall{std::chrono::milliseconds(1'800'000'000'000)};
  StunTransactionKey key;
  random.fill(key.mutable_view());
  const SocketAddress broker = *SocketAddress::parse("198.51.100.10:443");
  const StunCredential credential = make_stun_credential(key, random);
  StunServer server({.transaction_key = key});
  if (!server.add_credential({"hq", Role::kClient, "alice"}, credential)) return 1;
  auto client = std::move(*StunClient::make({.server = broker, .credential = credential}, random));
  client->start({}, wall);
  const auto request = client->poll_transmit();
  print("request", request->bytes);

  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  for (const auto* source : {"203.0.113.5:51000", "[2001:db8::5]:51000"}) {
    // Another source for the same request is a replay; a new server has not seen it.
    StunServer fresh({.transaction_key = key});
    if (!fresh.add_credential({"hq", Role::kClient, "alice"}, credential)) return 1;
    const auto reply = fresh.handle_datagram({}, wall, *SocketAddress::parse(source), broker, request->bytes, out);
    if (!reply) return 1;
    print("answer", reply->bytes);
  }

  const PunchCredential gateway = make_punch_credential(random);
  const std::string username = gateway.ufrag + ":client01";
  const ByteBuffer check = build_check({.transaction = make_transaction_id(key, random),
                                        .username = username,
                                        .password = gateway.password.view(),
                                        .priority = 0x6e7fffff,
                                        .tie_breaker = 1});
  print("check", check);
  print("check-answer", build_check_response(*StunMessage::parse(check), *SocketAddress::parse("203.0.113.1:40000"),
                                             gateway.password.view()));
  return 0;
}
