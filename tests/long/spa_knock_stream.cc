// SPDX-License-Identifier: Apache-2.0
// Knocks as a site makes them, for tests/long/spa_looks_random.py: many devices, one verifier, a few minutes.
//
//   spa_knock_stream SEED COUNT      COUNT records on stdout
//
// A record: device (2) ‖ slot, from 0 (1) ‖ tr (1) ‖ frame (64). Everything but the randomness is as like as it gets
// in the field, where likeness would show: one mask key, one generation, the same flags, knock ids that count up.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <natt/spa/dns_carrier.h>
#include <natt/spa/knocker.h>
#include <natt/spa/tls_hello_carrier.h>
#include <natt/spa/udp_carrier.h>

#include <tests/support/seeded_random.h>

namespace {

using namespace natt;
using namespace natt::spa;
using test::SeededRandom;

constexpr std::size_t kDevices = 500;
constexpr std::int64_t kSlots = 4;
constexpr WallTime kStart{kSlotLength * 28'125'000};

struct Site {
  explicit Site(Random& random) {
    const KeyPair broker = KeyPair::generate(random);
    const Identity verifier{"hq", Role::kBroker, "b1"};
    const SitePsk psk(random.bytes<32>());
    const MaskKey mask(random.bytes<16>());
    for (std::size_t i = 0; i < kDevices; ++i) {
      const Identity device{"hq", Role::kClient, "d" + std::to_string(i)};
      const KeyPair own = KeyPair::generate(random);
      const auto pair = PairKey::derive(own, broker.public_key(), DeviceId::of(device), DeviceId::of(verifier), psk);
      knockers.push_back(std::make_unique<Knocker>(KnockerOptions{.device = device,
                                                                  .verifier = verifier,
                                                                  .port = 443,
                                                                  .mask = mask,
                                                                  .key_generation = 1,
                                                                  .wanted = kFlagUdpWanted | kFlagTcpWanted,
                                                                  .dns_suffix = suffix},
                                                   *pair, random));
    }
  }
  DnsSuffix suffix = *DnsSuffix::parse("site.internal");
  std::vector<std::unique_ptr<Knocker>> knockers;
};

Frame frame_of_hello(ByteView record) {
  Frame frame{};
  std::copy_n(record.begin() + 11, 32, frame.begin());
  std::copy_n(record.begin() + 44, 32, frame.begin() + 32);
  return frame;
}

Frame knock(const Site& site, Knocker& knocker, Transport transport, WallTime now, Random& random) {
  const KnockId id = knocker.next_knock_id();
  switch (transport) {
    case Transport::kUdp: return *parse_udp_carrier(knocker.make_udp_knock(now, id));
    case Transport::kDns: return *parse_dns_carrier(knocker.make_dns_knock(now, id), site.suffix);
    case Transport::kTcp: return frame_of_hello(knocker.make_tcp_hello(now, id, ByteBuffer(300, 0x16)));
    case Transport::kQuicToken: break;
  }
  return knocker.make_quic_token(now, id, random.bytes<16>(), random.bytes<16>());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  SeededRandom random(std::strtoull(argv[1], nullptr, 10));
  const long count = std::atol(argv[2]);
  const Site site(random);
  const auto duration = std::chrono::duration_cast<std::chrono::milliseconds>(kSlotLength * kSlots);
  for (long i = 0; i < count; ++i) {
    const WallTime now = kStart + duration * i / count;
    const auto device = static_cast<std::uint16_t>(random.uniform(kDevices));
    const auto transport = static_cast<Transport>(1 + random.uniform(4));
    const Frame frame = knock(site, *site.knockers[device], transport, now, random);
    std::array<std::uint8_t, 4> head{};
    store_be(head.data(), device);
    head[2] = static_cast<std::uint8_t>(Slot::of(now).number - Slot::of(kStart).number);
    head[3] = static_cast<std::uint8_t>(transport);
    std::fwrite(head.data(), 1, head.size(), stdout);
    std::fwrite(frame.data(), 1, frame.size(), stdout);
  }
  return 0;
}
