// SPDX-License-Identifier: Apache-2.0
// The kernel's table of hints follows the verifier: many devices, slots that come and go,
// devices that are added and removed, several sites, and a table that is too small.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "tests/integration/gate/gate_fixture.h"
#include "tests/integration/gate/gate_lines.h"
#include "tests/integration/gate/made_hints.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("kernel gate: knocks pass in every slot as time goes on", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  const std::size_t hints = gate->stats().hints;
  CHECK(hints == 3);
  for (int step = 0; step < 40; ++step) {
    CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kKnock);
    for (int tick = 0; tick < 20; ++tick) {
      site.advance(1s);
      site.settle();
    }
    CHECK(gate->stats().hints <= hints + 1);
  }
  site.settle();
  CHECK(gate->stats().hints == hints);
  // A knock of an hour ago, whose slot is gone.
  site.wall -= 1h;
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kUnknownHint);
}

TEST_CASE("kernel gate: a removed device is a stranger at once, an added one after the flush", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kKnock);
  REQUIRE(site.verifier->remove_device(site.alice));
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kUnknownHint);
  CHECK(gate->stats().hints == 0);
  site.enroll();
  gate->flush();
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kKnock);
  // Added and removed before a flush.
  REQUIRE(site.verifier->remove_device(site.alice));
  site.enroll();
  REQUIRE(site.verifier->remove_device(site.alice));
  gate->flush();
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kUnknownHint);
  CHECK(gate->stats().hints == 0);
}

TEST_CASE("kernel gate: a clock that jumps takes the kernel's table with it", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  for (const auto jump : {std::chrono::milliseconds(24h), std::chrono::milliseconds(-48h)}) {
    site.wall += jump;
    site.settle();
    site.settle();
    site.settle();
    CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kKnock);
    CHECK(gate->stats().hints == 3);
  }
}

TEST_CASE("kernel gate: several sites share a socket and not their keys", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  std::vector<std::unique_ptr<GatedSite>> sites;
  for (std::size_t i = 0; i < KernelGate::kMaxVerifiers; ++i) sites.push_back(std::make_unique<GatedSite>(*gate, i));
  CHECK_FALSE(gate->add_verifier(sites.front()->mask));
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  for (const auto& site : sites) CHECK(udp.verdict(site->udp_knock()) == GateVerdict::kKnock);
  REQUIRE(sites[3]->verifier->remove_device(sites[3]->alice));
  for (const auto& site : sites) {
    CHECK(udp.verdict(site->udp_knock()) == (site == sites[3] ? GateVerdict::kUnknownHint : GateVerdict::kKnock));
  }
}

TEST_CASE("kernel gate: 100,000 devices turn over in pieces that do not stall a loop", "[gate]") {
  constexpr std::uint64_t kDevices = 100'000;
  const auto gate = make_gate({.max_keys = kDevices});
  if (!gate) return;
  SeededRandom random(test_seed());
  HintListener& listener = **gate->add_verifier(MaskKey(random.bytes<16>()));
  for (std::uint64_t slot = 0; slot < 3; ++slot) add_hints(listener, Slot{slot}, slot * kDevices, kDevices);
  gate->flush();
  CHECK(gate->stats().hints == 3 * kDevices);
  CHECK(gate->complete());

  std::chrono::nanoseconds longest{0};
  for (std::uint64_t slot = 3; slot < 6; ++slot) {
    listener.on_slot_retired(Slot{slot - 3});
    for (std::uint64_t done = 0; done < kDevices; done += 1024) {
      const auto begin = cpu_time();
      add_hints(listener, Slot{slot}, slot * kDevices + done, std::min<std::uint64_t>(1024, kDevices - done));
      gate->flush();
      longest = std::max(longest, cpu_time() - begin);
    }
    CHECK(gate->complete());
    CHECK(gate->stats().hints <= 3 * kDevices + 1024);
  }
  for (int i = 0; i < 4; ++i) gate->flush();
  CHECK(gate->stats().hints == 3 * kDevices);
  CHECK(longest < 5ms);  // about 0.6 ms
}

TEST_CASE("kernel gate: more devices than it was opened for get a larger table", "[gate]") {
  Lines lines;
  const auto gate = make_gate({.max_keys = 1024, .log = lines.sink()});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  GatedUdp dns(*gate, GateSocket::kBrokerDns);
  const ByteBuffer before = site.udp_knock();
  CHECK(udp.verdict(before) == GateVerdict::kKnock);
  HintListener& other = **gate->add_verifier(MaskKey(site.random.bytes<16>()));
  for (std::uint64_t slot = 1; slot < 20; ++slot) {
    add_hints(other, Slot{slot}, slot * 10'000, 10'000);
    gate->flush();
    CHECK(gate->complete());
    // What the table knows, what the gate remembers, and what it drops: as before, on the sockets that there are.
    CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kKnock);
    CHECK(udp.verdict(before) == GateVerdict::kCopy);
    CHECK(dns.verdict(site.dns_knock()) == GateVerdict::kKnock);
    CHECK(udp.verdict(make_udp_carrier(site.random.bytes<kFrameSize>())) == GateVerdict::kUnknownHint);
  }
  CHECK(gate->stats().hints == 3 + 190'000);
  CHECK(lines.count("natt.spa.kernel_gate state=grown") >= 6);  // from 4096 places to 262144
  CHECK(lines.count("natt.spa.kernel_gate state=full") == 0);
  REQUIRE(site.verifier->remove_device(site.alice));
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kUnknownHint);
}

TEST_CASE("kernel gate: a socket that was closed is not touched when the table grows", "[gate]") {
  const auto gate = make_gate({.max_keys = 1024});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const int closed = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(gate->attach(closed, GateSocket::kBrokerUdp));
  ::close(closed);
  const int other = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  REQUIRE(other == closed);  // the number again
  add_hints(**gate->add_verifier(MaskKey(site.random.bytes<16>())), Slot{1}, 0, 10'000);
  const int unused = 0;
  CHECK(::setsockopt(other, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == -1);
  CHECK(errno == ENOENT);
  ::close(other);
}

TEST_CASE("kernel gate: a table that may not grow lets datagrams of strangers through and says so once", "[gate]") {
  Lines lines;
  const auto gate = make_gate({.max_keys = 1024, .most_keys = 1024, .log = lines.sink()});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  HintListener& other = **gate->add_verifier(MaskKey(site.random.bytes<16>()));
  add_hints(other, Slot{1}, 0, 10'000);
  gate->flush();
  CHECK_FALSE(gate->complete());
  CHECK(lines.count("natt.spa.kernel_gate state=full") == 1);
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kKnock);
  const Frame stranger = site.random.bytes<kFrameSize>();
  CHECK(udp.verdict(make_udp_carrier(stranger)) == GateVerdict::kUnchecked);
  CHECK(udp.verdict(ByteBuffer(100, 0x16)) == GateVerdict::kNoShape);
  other.on_slot_retired(Slot{1});
  for (int i = 0; i < 11; ++i) gate->flush();
  CHECK(gate->complete());
  CHECK(gate->stats().hints == 3);
  CHECK(udp.verdict(make_udp_carrier(stranger)) == GateVerdict::kUnknownHint);
}

TEST_CASE("kernel gate: a table takes what it was opened for, to the last hint", "[gate]") {
  // Three hints of each fill five eighths of 2^19 places but for two.
  constexpr std::size_t kKeys = 109'226;
  Lines lines;
  const auto gate = make_gate({.max_keys = kKeys, .most_keys = kKeys, .log = lines.sink()});
  if (!gate) return;
  SeededRandom random(test_seed());
  const auto key = random.bytes<16>();
  HintListener& listener = **gate->add_verifier(MaskKey(key));
  for (std::size_t i = 0; i < 3 * kKeys; ++i) listener.on_hint_added(Slot{i % 3}, random.bytes<8>(), key);
  gate->flush();
  CHECK(gate->complete());
  CHECK(gate->stats().hints == 3 * kKeys);
  CHECK(lines.count("natt.spa.kernel_gate") == 0);
}

TEST_CASE("kernel gate: a slot that comes back keeps its hints", "[gate]") {
  constexpr std::uint64_t kDevices = 5000;
  const auto gate = make_gate();
  if (!gate) return;
  SeededRandom random(test_seed());
  HintListener& listener = **gate->add_verifier(MaskKey(random.bytes<16>()));
  HintListener& other = **gate->add_verifier(MaskKey(random.bytes<16>()));
  add_hints(listener, Slot{7}, 0, kDevices);
  add_hints(other, Slot{7}, kDevices, kDevices);
  listener.on_slot_retired(Slot{7});
  other.on_slot_retired(Slot{7});
  add_hints(listener, Slot{7}, 0, kDevices);
  for (int i = 0; i < 20; ++i) gate->flush();
  CHECK(gate->stats().hints == kDevices);
}
