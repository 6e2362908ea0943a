// SPDX-License-Identifier: Apache-2.0
#include <natt/path_table.h>

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>

#include "support/seeded_random.h"

using namespace natt;

namespace {

SocketAddress address(const std::string& text) { return SocketAddress::parse(text).value(); }

Route numbered(std::uint32_t number) {
  const auto octet = [&](unsigned shift) { return static_cast<std::uint8_t>(number >> shift); };
  return Route::direct({IpAddress::v4({10, octet(16), octet(8), octet(0)}), 1000});
}

struct Fixture {
  explicit Fixture(std::size_t maximum = 4) : table({.maximum_paths = maximum}, random) {}
  test::SeededRandom random{test::test_seed()};
  PathTable table;
};

}  // namespace

TEST_CASE("path table: a route has one path id and is found by either", "[natt][path]") {
  Fixture f;
  const Route direct = Route::direct(address("203.0.113.1:4000"), address("192.0.2.1:0").ip);
  CHECK_FALSE(f.table.find(direct));

  const auto path = f.table.find_or_create(direct);
  REQUIRE(path);
  CHECK(*path);
  CHECK(f.table.find(direct) == path);
  CHECK(f.table.find_or_create(direct) == path);
  REQUIRE(f.table.route(*path) != nullptr);
  CHECK(f.table.route(*path)->remote == direct.remote);
  CHECK(f.table.route(*path)->local == direct.local);
  CHECK_FALSE(f.table.route(*path)->relayed());
  CHECK(f.table.size() == 1);
}

TEST_CASE("path table: another remote, socket or leg is another path", "[natt][path]") {
  Fixture f(16);
  std::set<PathId> paths;
  for (const Route& route :
       {Route::direct(address("203.0.113.1:4000")), Route::direct(address("203.0.113.1:4001")),
        Route::direct(address("203.0.113.2:4000")), Route::direct(address("[2001:db8::1]:4000")),
        Route::direct(address("203.0.113.1:4000"), {}, 1), Route::relay({1}), Route::relay({2})}) {
    paths.insert(f.table.find_or_create(route).value());
  }
  CHECK(paths.size() == 7);
}

TEST_CASE("path table: the local address is remembered but makes no difference", "[natt][path]") {
  Fixture f;
  const SocketAddress remote = address("203.0.113.1:4000");
  const PathId path = f.table.find_or_create(Route::direct(remote, address("192.0.2.1:0").ip)).value();

  CHECK(f.table.find(Route::direct(remote, address("192.0.2.9:0").ip)) == path);
  CHECK(f.table.route(path)->local == address("192.0.2.1:0").ip);
  f.table.set_local(path, address("192.0.2.9:0").ip);
  CHECK(f.table.route(path)->local == address("192.0.2.9:0").ip);
}

TEST_CASE("path table: when full, the path unused for longest makes room", "[natt][path]") {
  Fixture f(3);
  const PathId first = f.table.find_or_create(numbered(1)).value();
  const PathId second = f.table.find_or_create(numbered(2)).value();
  const PathId third = f.table.find_or_create(numbered(3)).value();
  REQUIRE(f.table.find(numbered(1)) == first);  // use

  const PathId fourth = f.table.find_or_create(numbered(4)).value();

  CHECK(f.table.size() == 3);
  CHECK(f.table.route(first) != nullptr);
  CHECK(f.table.route(second) == nullptr);
  CHECK(f.table.route(third) != nullptr);
  CHECK(f.table.route(fourth) != nullptr);
  CHECK(f.table.stats().evicted == 1);
  // The evicted route comes back as a new path.
  CHECK(f.table.find_or_create(numbered(2)).value() != second);
}

TEST_CASE("path table: a pinned path stays, and a table of pinned paths is full", "[natt][path]") {
  Fixture f(2);
  const PathId first = f.table.find_or_create(numbered(1)).value();
  const PathId second = f.table.find_or_create(numbered(2)).value();
  f.table.pin(first);
  f.table.pin(first);
  f.table.pin(second);

  CHECK_FALSE(f.table.find_or_create(numbered(3)));
  CHECK(f.table.stats().refused == 1);
  f.table.unpin(first);
  CHECK_FALSE(f.table.find_or_create(numbered(3)));
  f.table.unpin(first);
  CHECK(f.table.find_or_create(numbered(3)));
  CHECK(f.table.route(first) == nullptr);
  CHECK(f.table.route(second) != nullptr);
}

TEST_CASE("path table: unknown and stale path ids are ignored", "[natt][path]") {
  Fixture f(1);
  const PathId old = f.table.find_or_create(numbered(1)).value();
  const PathId current = f.table.find_or_create(numbered(2)).value();
  REQUIRE(f.table.route(old) == nullptr);

  for (const PathId path : {PathId{}, old, PathId{~std::uint64_t{0}}}) {
    f.table.pin(path);
    f.table.unpin(path);
    f.table.set_local(path, address("192.0.2.1:0").ip);
    f.table.remove(path);
    CHECK(f.table.route(path) == nullptr);
  }
  f.table.unpin(current);  // never pinned
  CHECK(f.table.route(current)->local.is_unspecified());
  CHECK(f.table.find_or_create(numbered(3)));
}

TEST_CASE("path table: a removed path is gone, pinned or not", "[natt][path]") {
  Fixture f(2);
  const PathId first = f.table.find_or_create(numbered(1)).value();
  const PathId second = f.table.find_or_create(numbered(2)).value();
  f.table.pin(first);

  f.table.remove(first);
  f.table.remove(second);

  CHECK(f.table.size() == 0);
  CHECK_FALSE(f.table.find(numbered(1)));
  CHECK(f.table.find_or_create(numbered(1)).value() != first);
  CHECK(f.table.find_or_create(numbered(2)).value() != second);
  CHECK(f.table.size() == 2);
}

TEST_CASE("path table: agrees with a simple model over many random operations", "[natt][path]") {
  constexpr std::size_t kMaximum = 200;
  Fixture f(kMaximum);
  std::map<std::uint32_t, PathId> model;  // routes that cannot have been evicted: all pinned
  std::set<PathId> ever;
  for (int step = 0; step < 50'000; ++step) {
    const auto number = static_cast<std::uint32_t>(f.random.uniform(400));
    const auto known = model.find(number);
    switch (f.random.uniform(3)) {
      case 0:
        if (known == model.end() && model.size() < kMaximum / 2) {
          const PathId path = f.table.find_or_create(numbered(number)).value();
          f.table.pin(path);
          model[number] = path;
        }
        break;
      case 1:
        if (known != model.end()) {
          f.table.unpin(known->second);
          f.table.remove(known->second);
          CHECK_FALSE(f.table.find(numbered(number)));
          CHECK(ever.insert(known->second).second);  // numbers are never used twice
          model.erase(known);
        }
        break;
      default:
        (void)f.table.find_or_create(numbered(1000 + number));  // passers-by
    }
    if (step % 1000 != 0) continue;
    for (const auto& [route, path] : model) {
      REQUIRE(f.table.find(numbered(route)) == path);
      REQUIRE(f.table.route(path)->remote == numbered(route).remote);
    }
  }
  CHECK(f.table.size() <= kMaximum);
}

TEST_CASE("path table: grows to tens of thousands of paths", "[natt][path]") {
  Fixture f(65536);
  std::vector<PathId> paths;
  for (std::uint32_t i = 0; i < 65536; ++i) paths.push_back(f.table.find_or_create(numbered(i)).value());
  bool all = true;
  for (std::uint32_t i = 0; i < 65536; ++i) all = all && f.table.find(numbered(i)) == paths[i];
  CHECK(all);
  CHECK(f.table.stats().evicted == 0);
}
