// SPDX-License-Identifier: Apache-2.0
// A table of hints that becomes too small while the program serves: a larger one is made in
// another thread and filled in pieces, and in between knocks go on and devices come and go.
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <set>
#include <thread>

#include "tests/integration/gate/gate_fixture.h"
#include "tests/integration/gate/gate_lines.h"
#include "tests/integration/gate/made_hints.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

constexpr Slot kSlot{1};
// 131,072 places: from 81,920 hints on it grows, at 98,304 it takes no more.
constexpr std::size_t kKeys = 20'000;
constexpr std::uint64_t kFull = 81'920;

// As the thread pool does it.
void run_elsewhere(const std::function<void()>& work) {
  REQUIRE(work);
  std::thread(work).join();
}

void run_without_privilege(const std::function<void()>& work) {
  std::thread([&work] {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> none{};
    if (::syscall(SYS_capset, &header, none.data()) == 0) work();
  }).join();
}

}  // namespace

TEST_CASE("kernel gate: while a larger table is made members' knocks pass, and nothing else that did not", "[gate]") {
  Lines lines;
  const auto gate = make_gate({.max_keys = kKeys, .grow_in_background = true, .log = lines.sink()});
  if (!gate) return;
  const Loopback network;
  GatedSite alice(*gate, 1);
  GatedSite leaver(*gate, 2);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  const auto verdict_of = [&](GatedSite& site) { return udp.verdict(site.udp_knock()); };
  const auto stranger = [&] { return udp.verdict(make_udp_carrier(alice.random.bytes<kFrameSize>())); };
  const ByteBuffer before = alice.udp_knock();
  CHECK(udp.verdict(before) == GateVerdict::kKnock);
  HintListener& other = **gate->add_verifier(MaskKey(alice.random.bytes<16>()));

  add_hints(other, kSlot, 0, kFull);
  gate->flush();
  // There is room for some more still, and the gate knows everybody.
  CHECK(gate->complete());
  CHECK(verdict_of(alice) == GateVerdict::kKnock);
  CHECK(stranger() == GateVerdict::kUnknownHint);
  const auto work = gate->take_work();
  REQUIRE(work);
  CHECK_FALSE(gate->take_work());
  CHECK_FALSE(gate->has_work());

  // Now there is none: who comes waits, and datagrams pass to user space, which knows.
  add_hints(other, kSlot, kFull, 18'000);
  GatedSite newcomer(*gate, 3);
  gate->flush();
  CHECK_FALSE(gate->complete());
  CHECK(verdict_of(alice) == GateVerdict::kKnock);
  CHECK(verdict_of(newcomer) == GateVerdict::kUnchecked);
  CHECK(stranger() == GateVerdict::kUnchecked);

  run_elsewhere(work);
  std::set<std::uint64_t> known;
  for (std::uint64_t i = 0; i < kFull + 18'000; ++i) known.insert(i);
  std::uint64_t next = known.size();
  int pieces = 0;
  for (; gate->has_work(); ++pieces) {
    gate->flush();
    CHECK(verdict_of(alice) == GateVerdict::kKnock);
    CHECK(passes(verdict_of(newcomer)));
    if (pieces < 10) CHECK(verdict_of(leaver) == GateVerdict::kKnock);
    if (pieces == 10) REQUIRE(leaver.verifier->remove_device(leaver.alice));
    if (pieces >= 10) CHECK(verdict_of(leaver) != GateVerdict::kKnock);
    for (int i = 0; i < 100; ++i) {
      // From anywhere in the table: those that move into the holes are not to be lost.
      const auto gone = known.lower_bound(alice.random.uniform(static_cast<std::uint32_t>(next)));
      if (gone != known.end()) {
        other.on_hint_removed(kSlot, hint_of(*gone));
        known.erase(gone);
      }
      add_hints(other, kSlot, next, 1);
      known.insert(next++);
    }
  }
  CHECK(pieces >= 32);

  CHECK(gate->complete());
  CHECK(lines.count("natt.spa.kernel_gate state=grown places=262144") == 1);
  CHECK(lines.count("natt.spa.kernel_gate state=full") == 0);
  CHECK(gate->stats().hints == known.size() + 6);
  gate->flush();
  CHECK(verdict_of(alice) == GateVerdict::kKnock);
  CHECK(verdict_of(newcomer) == GateVerdict::kKnock);
  CHECK(verdict_of(leaver) == GateVerdict::kUnknownHint);
  CHECK(stranger() == GateVerdict::kUnknownHint);
  CHECK(udp.verdict(before) == GateVerdict::kCopy);
  // Each of them is there, once.
  for (const std::uint64_t number : known) other.on_hint_removed(kSlot, hint_of(number));
  CHECK(gate->stats().hints == 6);
  run_elsewhere(gate->take_work());  // frees the former table
  CHECK_FALSE(gate->take_work());
  CHECK(verdict_of(alice) == GateVerdict::kKnock);
}

TEST_CASE("kernel gate: a hint that moves to a place which was filled already is in the larger table", "[gate]") {
  constexpr std::uint32_t kCrowd = 64;
  constexpr std::uint32_t kHome = 4090;  // the first piece ends at 4096
  const auto crowded = [](std::uint32_t number) {
    std::array<std::uint8_t, 8> hint{};
    const std::uint32_t low = kHome | number << 17;  // of 2^17 places
    for (std::size_t i = 0; i < 4; ++i) hint[i] = static_cast<std::uint8_t>(low >> (8 * i));
    hint[7] = 1;
    return hint;
  };
  const std::array<std::uint8_t, 16> key{};
  const auto gate = make_gate({.max_keys = kKeys, .grow_in_background = true});
  if (!gate) return;
  HintListener& listener = **gate->add_verifier(MaskKey(key));
  for (std::uint32_t i = 0; i < kCrowd; ++i) listener.on_hint_added(kSlot, crowded(i), key);
  add_hints(listener, kSlot, 0, kFull);
  run_elsewhere(gate->take_work());
  gate->flush();
  REQUIRE(gate->has_work());

  // Those behind them move up, across the end of the piece.
  for (std::uint32_t i = 0; i < 6; ++i) listener.on_hint_removed(kSlot, crowded(i));
  while (gate->has_work()) gate->flush();

  CHECK(gate->stats().hints == kFull + kCrowd - 6);
  for (std::uint32_t i = 6; i < kCrowd; ++i) listener.on_hint_removed(kSlot, crowded(i));
  CHECK(gate->stats().hints == kFull);
}

TEST_CASE("kernel gate: a slot that ends while its devices wait for a larger table leaves nothing in it", "[gate]") {
  const auto gate = make_gate({.max_keys = kKeys, .grow_in_background = true});
  if (!gate) return;
  const Loopback network;
  GatedSite alice(*gate);
  HintListener& other = **gate->add_verifier(MaskKey(alice.random.bytes<16>()));
  add_hints(other, kSlot, 0, 110'000);
  gate->flush();
  REQUIRE_FALSE(gate->complete());
  run_elsewhere(gate->take_work());
  for (int i = 0; i < 5; ++i) gate->flush();
  other.on_slot_retired(kSlot);
  for (int i = 0; i < 200; ++i) gate->flush();
  CHECK_FALSE(gate->has_work());
  CHECK(gate->complete());
  CHECK(gate->stats().hints == 3);
}

TEST_CASE("kernel gate: a larger table that cannot be made is said once and tried again", "[gate]") {
  Lines lines;
  const auto gate =
      make_gate({.max_keys = kKeys, .grow_in_background = true, .growth_retry = 1ms, .log = lines.sink()});
  if (!gate) return;
  const Loopback network;
  GatedSite alice(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  HintListener& other = **gate->add_verifier(MaskKey(alice.random.bytes<16>()));
  add_hints(other, kSlot, 0, 100'000);
  gate->flush();
  for (int tries = 0; tries < 3; ++tries) {
    const auto work = gate->take_work();
    REQUIRE(work);
    run_without_privilege(work);
    gate->flush();
    CHECK_FALSE(gate->complete());
    CHECK(udp.verdict(alice.udp_knock()) == GateVerdict::kKnock);
    CHECK(udp.verdict(make_udp_carrier(alice.random.bytes<kFrameSize>())) == GateVerdict::kUnchecked);
    std::this_thread::sleep_for(2ms);
    gate->flush();
  }
  CHECK(lines.count("natt.spa.kernel_gate state=full") == 1);
  CHECK(lines.count("natt.spa.kernel_gate state=grown") == 0);

  run_elsewhere(gate->take_work());
  while (gate->has_work()) gate->flush();
  CHECK(gate->complete());
  CHECK(gate->stats().hints == 100'003);
  CHECK(lines.count("natt.spa.kernel_gate state=grown") == 1);
  CHECK(udp.verdict(alice.udp_knock()) == GateVerdict::kKnock);
}

TEST_CASE("kernel gate: no turn is long in which the table of 100,000 devices grows", "[gate]") {
  constexpr std::uint64_t kDevices = 100'000;
  const auto gate = make_gate({.max_keys = kDevices, .grow_in_background = true});
  if (!gate) return;
  SeededRandom random(test_seed());
  HintListener& listener = **gate->add_verifier(MaskKey(random.bytes<16>()));
  std::chrono::nanoseconds longest{0};
  for (std::uint64_t first = 0; first < 6 * kDevices || gate->has_work(); first += 96) {
    const auto begin = cpu_time();
    if (first < 6 * kDevices) add_hints(listener, kSlot, first, 96);
    gate->flush();
    const auto work = gate->take_work();
    longest = std::max(longest, cpu_time() - begin);
    if (work) run_elsewhere(work);
  }
  CHECK(gate->complete());
  CHECK(gate->stats().hints == 6 * kDevices);
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
  CHECK(longest < 25ms);  // the sanitizers' builds are clang's: up to 6 ms
#else
  CHECK(longest < 5ms);  // about 1.5 ms
#endif
}

TEST_CASE("kernel gate: a gate may go at any moment of its growth", "[gate]") {
  for (int moment = 0; moment < 4; ++moment) {
    CAPTURE(moment);
    auto gate = make_gate({.max_keys = kKeys, .grow_in_background = true});
    if (!gate) return;
    SeededRandom random(test_seed());
    add_hints(**gate->add_verifier(MaskKey(random.bytes<16>())), kSlot, 0, 110'000);
    const auto work = gate->take_work();
    REQUIRE(work);
    if (moment >= 1) run_elsewhere(work);
    if (moment >= 2) gate->flush();
    if (moment >= 3) {
      while (gate->has_work()) gate->flush();
    }
    gate.reset();
  }
}
