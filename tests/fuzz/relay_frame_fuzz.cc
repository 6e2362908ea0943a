// SPDX-License-Identifier: Apache-2.0

// Relay frames from the network, at a relay and at a leg that have a session bound:
// nothing crashes, a parsed control frame serializes to itself, and only the bound
// source's frames are forwarded.
//
// Input: source (1 octet, even: the client's address), segment size (2), then a train
// in which a leg header of zeros stands for the client's.

#include <natt/relay_leg.h>
#include <natt/relay_server.h>

#include <algorithm>
#include <cstdlib>

#include "support/seeded_random.h"

namespace {

using namespace natt;

const SocketAddress kRelay{IpAddress::v4({198, 51, 100, 10}), 443};
const SocketAddress kClient{IpAddress::v4({203, 0, 113, 1}), 4000};
const SocketAddress kGatewayAddress{IpAddress::v4({192, 0, 2, 2}), 5000};
constexpr Instant kNow{std::chrono::hours(1)};
constexpr WallTime kWall{std::chrono::milliseconds(1'700'000'000'000)};

void require(bool condition) {
  if (!condition) std::abort();
}

struct Session {
  test::SeededRandom random{1};
  RelayServer server{{}, RelayKey{}, random};
  RelayGrantPair grants = *server.issue({"hq", Role::kClient, "a"}, {"hq", Role::kGateway, "g"}, std::nullopt, kWall);
  RelayLeg client{{.relay = kRelay, .local = {}}, grants.client};
  RelayLeg gateway{{.relay = kRelay, .local = {}}, grants.gateway};

  Session() {
    bind(client, kClient);
    bind(gateway, kGatewayAddress);
  }
  void bind(RelayLeg& leg, const SocketAddress& source) {
    leg.start(kNow, kWall);
    while (auto request = leg.poll_transmit()) {
      MutableBytes train = request->bytes;
      (void)server.handle_train(kNow, kWall, source, kRelay.ip, train, 0);
      while (auto reply = server.poll_transmit()) leg.handle_datagram(kNow, kWall, kRelay, reply->bytes);
    }
    require(leg.bound());
  }
};

void check_round_trip(ByteView frame) {
  const auto control = parse_relay_control(frame);
  if (!control) return;
  const ByteBuffer again = serialize_relay_control(*control, RelayKey{});
  require(again.size() == frame.size());
  const std::size_t signed_size = frame.size() - kRelayMacSize;
  if (control->header.kind == RelayKind::kBound) return;  // unknown flags are not kept
  require(std::equal(again.begin(), again.begin() + static_cast<std::ptrdiff_t>(signed_size), frame.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  Session session;
  const SocketAddress from = data[0] % 2 == 0 ? kClient : SocketAddress{kClient.ip, 4001};
  const std::size_t segment = load_be<std::uint16_t>(data + 1);
  ByteBuffer bytes(data + 3, data + size);
  check_round_trip(bytes);
  session.client.handle_datagram(kNow, kWall, kRelay, bytes);
  (void)session.client.unwrap(kRelay, bytes);
  const std::size_t step = segment == 0 ? std::max<std::size_t>(bytes.size(), 1) : segment;
  for (std::size_t at = 0; at + kRelayHeaderSize <= bytes.size(); at += step) {
    const MutableBytes header = MutableBytes(bytes).subspan(at, kRelayHeaderSize);
    if (std::all_of(header.begin(), header.end(), [](std::uint8_t octet) { return octet == 0; })) {
      std::copy(session.client.header().begin(), session.client.header().end(), header.begin());
    }
  }
  MutableBytes rest = bytes;
  while (!rest.empty()) {
    const std::size_t before = rest.size();
    const auto out = session.server.handle_train(kNow, kWall, from, kRelay.ip, rest, segment);
    require(rest.size() < before);
    require(!out || (from == kClient && out->to == kGatewayAddress && out->bytes.size() == before - rest.size()));
  }
  require(session.client.bound() || session.client.closed());
  return 0;
}
