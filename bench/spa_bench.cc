// SPDX-License-Identifier: Apache-2.0
// SPA: sealing, and what a verifier with 100,000 devices does with valid frames,
// strangers' garbage and an insider's frames with a wrong P. One core.
//
//   spa_bench [DEVICES]
#include <cstdlib>
#include <fstream>
#include <string>

#include <natt/spa/knocker.h>
#include <natt/spa/verifier.h>

#include "harness.h"

namespace {

using namespace natt;
using namespace natt::spa;

std::size_t devices = 100'000;
constexpr std::uint16_t kPort = 443;
const Identity kBroker{"hq", Role::kBroker, "b1"};
const WallTime kWall{std::chrono::seconds(64 * 27'600'000 + 30)};
const Instant kNow{std::chrono::hours(1)};

double resident_bytes() {
  std::ifstream status("/proc/self/statm");
  double total = 0;
  double resident = 0;
  status >> total >> resident;
  return resident * 4096;
}

struct Site {
  SystemRandom random;
  KeyPair broker_keys = KeyPair::generate(random);
  SitePsk psk{random.bytes<32>()};
  MaskKey mask{random.bytes<16>()};

  // One secret for all: identities keep the pair keys apart, and 100,000 base point multiplications are saved.
  KeyPair device_keys = KeyPair::generate(random);
  std::unique_ptr<Verifier> verifier;
  std::vector<SlotKeys> slot_keys;

  static Identity device(std::size_t i) { return {"hq", Role::kClient, "d" + std::to_string(i)}; }

  Site() {
    VerifierOptions options;
    options.identity = kBroker;
    options.keys.push_back(KeyPair::from_secret(broker_keys.secret()));
    options.psk = psk;
    options.mask = mask;
    options.client_nonces_per_slot = 1'000'000;
    options.client_budget = {.per_second = 1'000'000, .burst = 1'000'000};
    verifier = std::make_unique<Verifier>(std::move(options), random);
  }

  void enroll() {
    const DeviceKey key{1, device_keys.public_key()};
    // As a roster is loaded.
    while (verifier->expect_devices(devices, 0)) {
    }
    for (std::size_t i = 0; i < devices; ++i) (void)verifier->put_device(device(i), {&key, 1});
  }

  void derive_slot_keys() {
    slot_keys.reserve(devices);
    for (std::size_t i = 0; i < devices; ++i) {
      const auto pair =
          PairKey::derive(device_keys, broker_keys.public_key(), DeviceId::of(device(i)), DeviceId::of(kBroker), psk);
      slot_keys.push_back(SlotKeys::derive(*pair, Slot::of(kWall)));
    }
  }

  Frame seal(std::size_t i, std::uint8_t flags = 0) {
    const SlotKeys& keys = slot_keys[i % devices];
    FrameBody body;
    body.flags = flags;
    if ((flags & kFlagAddressBound) != 0) body.tag = make_address_tag(keys.address, IpAddress{});
    body.key_generation = 1;
    body.timestamp = kWall;
    body.knock_id = static_cast<std::uint16_t>(i);
    const FrameContext context{Transport::kUdp, DeviceId::of(kBroker), kPort, {}};
    return seal_frame(keys, mask, context, body, random.bytes<kNonceSize>());
  }

  // As a driver does after one recvmmsg.
  std::size_t verify_batches(const std::vector<Frame>& frames) {
    constexpr std::size_t kBatch = 64;
    std::array<ArrivedFrame, kBatch> arrived{};
    std::array<std::optional<Grant>, kBatch> grants;
    std::size_t granted = 0;
    for (std::size_t at = 0; at < frames.size(); at += kBatch) {
      const std::size_t count = std::min(kBatch, frames.size() - at);
      for (std::size_t i = 0; i < count; ++i) arrived[i] = {Transport::kUdp, frames[at + i], {.port = kPort}};
      verifier->verify_batch(kNow, kWall, std::span(arrived).first(count), std::span(grants).first(count));
      for (std::size_t i = 0; i < count; ++i) granted += grants[i].has_value();
    }
    return granted;
  }

  std::size_t verify(const std::vector<Frame>& frames) {
    std::size_t granted = 0;
    for (const Frame& frame : frames) {
      granted += verifier->verify(kNow, kWall, Transport::kUdp, frame, {.port = kPort}).has_value();
    }
    return granted;
  }
};

std::vector<Frame> garbage(Random& random, std::size_t count) {
  std::vector<Frame> frames(count);
  for (Frame& frame : frames) random.fill(frame);
  return frames;
}

// A frame can be granted once, so every run needs its own; each device in turn, as at a busy broker.
template <typename Verify>
void bench_valid(Site& site, const std::string& name, std::uint8_t flags, Verify&& verify) {
  // All runs together stay below what the replay set of 100,000 devices takes in a slot.
  constexpr std::size_t kFrames = 60'000;
  constexpr int kRuns = 3;
  std::vector<std::vector<Frame>> batches(kRuns + 1);
  for (auto& batch : batches) {
    for (std::size_t i = 0; i < kFrames; ++i) batch.push_back(site.seal(i * 7919, flags));
  }
  std::size_t run = 0;
  std::size_t granted = 0;
  bench::run(
      "spa." + name + ".valid", kFrames, [&] { granted += verify(batches[run++]); }, kRuns);
  if (granted != kFrames * (kRuns + 1)) std::abort();
  bench::run(
      "spa." + name + ".replayed", kFrames, [&] { bench::keep(verify(batches[0])); }, kRuns);
}

template <typename Verify>
void bench_rejects(Site& site, const std::string& name, Verify&& verify) {
  constexpr std::size_t kFrames = 200'000;
  const std::vector<Frame> strangers = garbage(site.random, kFrames);
  bench::run("spa." + name + ".garbage", kFrames, [&] { bench::keep(verify(strangers)); });

  std::vector<Frame> wrong_p(kFrames);
  const auto seal_wrong = [&](std::size_t step) {
    for (std::size_t i = 0; i < kFrames; ++i) {
      wrong_p[i] = site.seal(i * step);
      wrong_p[i][63] ^= 1;
    }
  };
  seal_wrong(0);
  bench::run("spa." + name + ".wrong_p", kFrames, [&] { bench::keep(verify(wrong_p)); });
  seal_wrong(7919);
  bench::run("spa." + name + ".wrong_p_any_device", kFrames, [&] { bench::keep(verify(wrong_p)); });
}

void bench_slot_refresh(Site& site) {
  double worst = 0;
  double total = 0;
  Instant now = kNow;
  const WallTime next_slot = kWall + kSlotLength;
  do {
    const double begin = bench::cpu_nanoseconds();
    site.verifier->handle_timeout(now, next_slot);
    const double took = (bench::cpu_nanoseconds() - begin) / 1e3;
    worst = std::max(worst, took);
    total += took;
    now = *site.verifier->next_deadline();
  } while (now < kNow + std::chrono::seconds(2));
  bench::print("spa.refresh.worst_piece", worst, "us");
  bench::print("spa.refresh.whole_slot", total, "us");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) devices = std::strtoull(argv[1], nullptr, 10);
  const double before = resident_bytes();
  Site site;
  const double begin = bench::cpu_nanoseconds();
  site.enroll();
  const double enrolled = (bench::cpu_nanoseconds() - begin) / 1e3;
  site.verifier->handle_timeout(kNow, kWall);
  for (const PageMove& move : site.verifier->take_page_moves()) move.run();
  bench::print("spa.enroll", enrolled / static_cast<double>(devices), "us/device");
  bench::print("spa.memory", (resident_bytes() - before) / static_cast<double>(devices), "octets/device");
  bench::print("spa.keys_locked", site.verifier->stats().keys_locked ? 1 : 0, "bool");

  site.derive_slot_keys();
  std::size_t i = 0;
  bench::run("spa.seal", 100'000, [&] {
    for (int n = 0; n < 100'000; ++n) bench::keep(site.seal(i++));
  });
  const auto one_by_one = [&site](const std::vector<Frame>& frames) { return site.verify(frames); };
  const auto in_batches = [&site](const std::vector<Frame>& frames) { return site.verify_batches(frames); };
  bench_rejects(site, "verify", one_by_one);
  bench_rejects(site, "verify_batch", in_batches);
  bench_valid(site, "verify", 0, one_by_one);
  bench_valid(site, "verify_batch", 0, in_batches);
  bench_valid(site, "verify_batch.address_bound", kFlagAddressBound, in_batches);
  bench_slot_refresh(site);
  return 0;
}
