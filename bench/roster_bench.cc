// SPDX-License-Identifier: Apache-2.0
// A roster of 100,000 devices: how long it takes to verify and to load, and how long the
// longest piece of it keeps the loop from everything else. Times are the thread's own.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "harness.h"

#include <natt/authority.h>
#include <natt/roster_loader.h>
#include <natt/roster_store.h>
#include <natt/spa/knocker.h>
#include <natt/spa/udp_carrier.h>

using namespace natt;

namespace {

constexpr int kDevices = 100'000;
const Identity kBroker{"hq", Role::kBroker, "b1"};

double timed(const std::function<void()>& work) {
  const double start = bench::cpu_nanoseconds();
  work();
  return (bench::cpu_nanoseconds() - start) / 1e6;
}

void report(const char* name, double value, const char* unit) {
  std::printf("%-36s %10.2f %s\n", name, value, unit);
  std::fflush(stdout);
}

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "roster_bench: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
T take(Result<T> result) {
  if (!result) die(result.error().message);
  return std::move(*result);
}

struct Site {
  SystemRandom random;
  WallTime wall{std::chrono::seconds(64 * 27'600'000)};
  Instant now{std::chrono::hours(1)};
  std::unique_ptr<Authority> authority = take(Authority::create("hq", wall, random));
  spa::KeyPair broker_keys = spa::KeyPair::generate(random);
  spa::KeyPair device_keys = spa::KeyPair::generate(random);
  spa::SitePsk psk{random.bytes<32>()};
  spa::MaskKey mask{random.bytes<16>()};
  Roster roster;

  Site() {
    roster.site = "hq";
    roster.issued_at = wall;
    roster.next_update = wall + std::chrono::hours(24);
    roster.devices.push_back({.identity = kBroker,
                              .spa_keys = {{1, broker_keys.public_key().bytes}},
                              .mask_key = Secret<16>(mask),
                              .addresses = {{IpAddress::v4({192, 0, 2, 1}), 443}}});
    for (int i = 0; i < kDevices; ++i) roster.devices.push_back(client(i));
  }
  // One key for all: whose it is makes no difference in time.
  RosterDevice client(int i) const {
    return {.identity = {"hq", Role::kClient, "device-" + std::to_string(i)},
            .spa_keys = {{1, device_keys.public_key().bytes}},
            .mask_key = {},
            .addresses = {}};
  }
  SignedRoster sign() {
    ++roster.number;
    return take(authority->sign_roster(roster));
  }
  spa::VerifierOptions verifier_options() const {
    spa::VerifierOptions options;
    options.identity = kBroker;
    options.keys.push_back(spa::KeyPair::from_secret(broker_keys.secret()));
    options.psk = psk;
    options.mask = mask;
    return options;
  }
  bool opens(spa::Verifier& verifier, const Identity& device) {
    const auto pair = spa::PairKey::derive(device_keys, broker_keys.public_key(), spa::DeviceId::of(device),
                                           spa::DeviceId::of(kBroker), psk);
    spa::KnockerOptions options;
    options.device = device;
    options.verifier = kBroker;
    options.mask = mask;
    options.key_generation = 1;
    spa::Knocker knocker(options, *pair, random);
    const auto frame = spa::parse_udp_carrier(knocker.make_udp_knock(wall, knocker.next_knock_id()));
    return frame &&
           verifier.verify(now, wall, spa::Transport::kUdp, *frame, {.port = 443, .binding = {}, .source = {}});
  }
};

// Turns of a loop until nothing is left to do: loader and verifier, as the broker drives them.
struct Turns {
  double total_ms = 0;
  double longest_ms = 0;
  double elsewhere_ms = 0;  // in another thread
  int count = 0;

  void add(double ms) {
    total_ms += ms;
    longest_ms = std::max(longest_ms, ms);
    ++count;
  }
  void move_pages(spa::Verifier& verifier) {
    std::vector<spa::PageMove> moves;
    add(timed([&] { moves = verifier.take_page_moves(); }));
    elsewhere_ms += timed([&] {
      for (const spa::PageMove& move : moves) move.run();
    });
  }
};
Turns run(Site& site, RosterLoader& loader, spa::Verifier& verifier) {
  Turns turns;
  while (!loader.done()) {
    const double ms = timed([&] {
      loader.step();
      if (verifier.next_deadline() <= site.now) verifier.handle_timeout(site.now, site.wall);
    });
    site.now += std::chrono::milliseconds(1);
    turns.add(ms);
    turns.move_pages(verifier);
  }
  return turns;
}

void report_turns(const char* name, const Turns& turns) {
  report((std::string(name) + "_total").c_str(), turns.total_ms, "ms");
  report((std::string(name) + "_longest_turn").c_str(), turns.longest_ms, "ms");
  if (turns.elsewhere_ms > 0.1) report((std::string(name) + "_page_moves").c_str(), turns.elsewhere_ms, "ms");
}

}  // namespace

int main() {
  Site site;
  RosterStore store(site.authority->certificate(), RosterView::kFull);
  SignedRoster first = site.sign();
  report("roster_full_size", static_cast<double>(first.full.size()) / 1e6, "MB");

  std::optional<PreparedRoster> prepared;
  std::unique_ptr<const Roster> replaced;
  report("roster_prepare", timed([&] { prepared = take(store.prepare(std::move(first))); }), "ms");
  RosterChange change;
  report("roster_accept", timed([&] { change = take(store.accept(std::move(*prepared), replaced)); }), "ms");

  spa::Verifier verifier(site.verifier_options(), site.random);
  verifier.handle_timeout(site.now, site.wall);
  RosterLoader loader({.self = kBroker, .clients_only = false, .retired = {}, .log = {}}, verifier);
  report("load_begin", timed([&] { loader.handle_roster(*store.roster(), change); }), "ms");
  report_turns("load_first", run(site, loader, verifier));
  if (verifier.stats().devices != kDevices) die("not every device was loaded");

  // The next roster: ten devices revoked, a hundred added.
  for (int i = 0; i < 10; ++i) site.roster.devices.erase(site.roster.devices.begin() + 500 + i * 1000);
  for (int i = 0; i < 100; ++i) site.roster.devices.push_back(site.client(kDevices + i));
  SignedRoster second = site.sign();
  report("replace_prepare", timed([&] { prepared = take(store.prepare(std::move(second))); }), "ms");
  report("replace_accept", timed([&] { change = take(store.accept(std::move(*prepared), replaced)); }), "ms");
  if (change.removed.size() != 10 || change.added.size() != 100) die("the change is wrong");
  const Identity revoked = change.removed.front();
  report("replace_revoke", timed([&] { loader.handle_roster(*store.roster(), change); }), "ms");
  if (site.opens(verifier, revoked)) die("a revoked device still opens");
  report_turns("replace_load", run(site, loader, verifier));
  if (!site.opens(verifier, site.client(kDevices).identity)) die("an added device does not open");
  report("replace_free_old", timed([&] { replaced.reset(); }), "ms");

  // The broker renews its own key.
  const spa::KeyPair renewed = spa::KeyPair::generate(site.random);
  std::vector<spa::KeyPair> own;
  own.push_back(spa::KeyPair::from_secret(renewed.secret()));
  own.push_back(spa::KeyPair::from_secret(site.broker_keys.secret()));
  report("own_key_begin", timed([&] {
           verifier.set_own_keys(std::move(own));
           loader.restart();
         }),
         "ms");
  report_turns("own_key_load", run(site, loader, verifier));

  // Three slots of time: the keys of each are prepared in pieces.
  Turns slots;
  const Instant end = site.now + std::chrono::seconds(3 * 64);
  while (site.now < end) {
    const Duration step = std::max<Duration>(*verifier.next_deadline() - site.now, std::chrono::milliseconds(1));
    site.now += step;
    site.wall += std::chrono::ceil<std::chrono::milliseconds>(step);
    slots.add(timed([&] { verifier.handle_timeout(site.now, site.wall); }));
    slots.move_pages(verifier);
  }
  report("slot_refresh_longest_turn", slots.longest_ms, "ms");

  // The old own key is retired: its 100,000 derived keys are wiped.
  std::vector<spa::KeyPair> only;
  only.push_back(spa::KeyPair::from_secret(renewed.secret()));
  verifier.set_own_keys(std::move(only));
  if (site.opens(verifier, site.client(5).identity)) die("an own key that was retired still opens");
  Turns wipe;
  for (int i = 0; i < 1000 && verifier.stats().keys > verifier.stats().devices; ++i) {
    site.now += std::chrono::milliseconds(5);
    const double ms = timed([&] { verifier.handle_timeout(site.now, site.wall); });
    wipe.longest_ms = std::max(wipe.longest_ms, ms);
    wipe.total_ms += 5;
  }
  report("own_key_wipe_longest_turn", wipe.longest_ms, "ms");
  report("own_key_wipe_within", wipe.total_ms, "ms");
  return 0;
}
