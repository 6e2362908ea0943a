// SPDX-License-Identifier: Apache-2.0
#include <natt/roster.h>

#include <cstdlib>
#include <fstream>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>
#include <natt/roster_store.h>

#include "libnatt/src/identity/roster_wire.h"
#include "support/test_pki.h"

using namespace natt;
using natt::test::kTestNow;
using natt::test::TestPki;

namespace {

void fill(TestPki& site) {
  static_cast<void>(site.device(Role::kBroker, "b1"));
  site.device(Role::kBroker, "b1").dns_port = 53;
  static_cast<void>(site.device(Role::kGateway, "gw1"));
  site.device(Role::kGateway, "gw1").addresses.push_back(*SocketAddress::parse("[2001:db8::7]:443"));
  static_cast<void>(site.device(Role::kClient, "alice"));
  static_cast<void>(site.device(Role::kClient, "bob"));
}

RevokedCertificate revoked(TestPki& site, Role role, const std::string& name) {
  return {site.issue(role, name).serial, site.identity(role, name)};
}

}  // namespace

TEST_CASE("roster: both views survive signing, a file and parsing", "[natt][identity]") {
  TestPki site;
  fill(site);
  Roster roster = site.roster(7);
  roster.revoked = {revoked(site, Role::kClient, "old"), revoked(site, Role::kGateway, "gw0")};
  REQUIRE(normalize(roster));
  const auto documents = SignedRoster::parse(site.authority().sign_roster(roster)->serialize());
  REQUIRE(documents);

  const auto full = parse_roster(documents->full, RosterView::kFull, site.ca());
  const auto client = parse_roster(documents->client, RosterView::kClient, site.ca());

  REQUIRE(full);
  CHECK(*full == roster);
  REQUIRE(client);
  CHECK(client->devices.size() == 2);
  CHECK(client->number == 7);
  CHECK(client->revoked.size() == 1);
  CHECK(client->find(site.identity(Role::kClient, "alice")) == nullptr);
  CHECK(client->find(site.identity(Role::kGateway, "gw1"))->addresses ==
        std::vector{*SocketAddress::parse("[2001:db8::7]:443")});
  CHECK(client->find(site.identity(Role::kBroker, "b1"))->dns_port == 53);
}

namespace {

// docs/WIRE.md section 2.2.
Roster documented_roster() {
  RosterDevice broker;
  broker.identity = {"hq", Role::kBroker, "b1"};
  broker.spa_keys.push_back({1, {}});
  broker.spa_keys[0].key.fill(0x11);
  std::array<std::uint8_t, 16> mask{};
  mask.fill(0x22);
  broker.mask_key = Secret<16>(mask);
  broker.addresses.push_back(*SocketAddress::parse("198.51.100.10:443"));
  broker.dns_port = 53;
  Roster roster;
  roster.site = "hq";
  roster.number = 1;
  roster.issued_at = kTestNow;
  roster.next_update = kTestNow + std::chrono::hours(24);
  roster.devices.push_back(broker);
  return roster;
}

std::string hex(ByteView bytes) {
  std::string text;
  for (const std::uint8_t octet : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[octet >> 4];
    text += kDigits[octet & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("roster: the documented vector", "[natt][identity]") {
  const ByteBuffer body = serialize_roster_body(documented_roster(), RosterView::kFull);

  CHECK(hex(body) ==
        "08011202687118012080a0cfada0342880d8e8d6a03432570801120262311a2408011220111111111111111111111111"
        "11111111111111111111111111111111111111112210222222222222222222222222222222222a150a10000000000000"
        "00000000ffffc633640a10bb033035");
  CHECK(*parse_roster_body(body, RosterView::kFull, "hq") == documented_roster());
  CHECK(as_text(ByteView(roster_signing_input(body)).first(14)) == std::string_view("natt-roster-1\0", 14));
}

// Not run by default: writes tests/fuzz/corpus/roster.
//   NATT_SEED_DIR=tests/fuzz/corpus/roster unit_natt_identity '[seeds]'
TEST_CASE("roster: write the fuzz seeds", "[.][seeds]") {
  const char* folder = std::getenv("NATT_SEED_DIR");
  REQUIRE(folder != nullptr);
  TestPki site;
  fill(site);
  Roster roster = site.roster(7);
  roster.revoked = {revoked(site, Role::kClient, "old")};
  REQUIRE(normalize(roster));
  const auto write = [&](const char* name, char selector, ByteView bytes) {
    std::ofstream file(std::string(folder) + "/" + name, std::ios::binary);
    file << selector << as_text(bytes);
    CHECK(file.good());
  };
  write("document", 0,
        serialize_roster_document(serialize_roster_body(roster, RosterView::kFull), ByteBuffer(70, 0x30)));
  write("file", 0, SignedRoster{{1, 2}, {3}}.serialize());
  write("full-body", 1, serialize_roster_body(roster, RosterView::kFull));
  write("client-body", 2, serialize_roster_body(roster, RosterView::kClient));
  write("documented-body", 1, serialize_roster_body(documented_roster(), RosterView::kFull));
}

TEST_CASE("roster: every flipped bit and every truncation of a document is refused", "[natt][identity]") {
  TestPki site;
  fill(site);
  ByteBuffer document = site.signed_roster(1).client;
  for (std::size_t size = 0; size < document.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(parse_roster(ByteView(document).first(size), RosterView::kClient, site.ca()));
  }
  for (std::size_t bit = 0; bit < document.size() * 8; ++bit) {
    CAPTURE(bit);
    document[bit / 8] = static_cast<std::uint8_t>(document[bit / 8] ^ (1u << (bit % 8)));
    CHECK_FALSE(parse_roster(document, RosterView::kClient, site.ca()));
    document[bit / 8] = static_cast<std::uint8_t>(document[bit / 8] ^ (1u << (bit % 8)));
  }
}

TEST_CASE("roster: another CA's, the other view and device signatures are refused", "[natt][identity]") {
  TestPki site;
  TestPki namesake("hq", 2);
  fill(site);
  fill(namesake);
  const SignedRoster documents = site.signed_roster(1);

  CHECK(parse_roster(namesake.signed_roster(1).full, RosterView::kFull, site.ca()).error().code == Errc::kUntrusted);
  CHECK(parse_roster(documents.full, RosterView::kClient, site.ca()).error().code == Errc::kWrongIdentity);
  CHECK(parse_roster(documents.client, RosterView::kFull, site.ca()).error().code == Errc::kWrongIdentity);
  CHECK(parse_roster({}, RosterView::kFull, site.ca()).error().code == Errc::kUntrusted);
  CHECK_FALSE(SignedRoster::parse({}));
  CHECK_FALSE(SignedRoster::parse(as_bytes("not a roster")));
}

TEST_CASE("roster: the authority signs nothing that contradicts itself", "[natt][identity]") {
  TestPki site;
  fill(site);
  const auto complaint = [&](auto change) {
    Roster roster = site.roster(1);
    change(roster);
    const auto signed_roster = site.authority().sign_roster(roster);
    return signed_roster ? std::string("accepted") : signed_roster.error().message;
  };

  CHECK(complaint([](Roster&) {}) == "accepted");
  CHECK(complaint([](Roster& r) { r.number = 0; }).find("number is 0") != std::string::npos);
  CHECK(complaint([](Roster& r) { r.site = "branch"; }).find("another site") != std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices.push_back(r.devices[0]); }).find("twice") != std::string::npos);
  CHECK(complaint([](Roster& r) { r.next_update = r.issued_at - std::chrono::seconds(1); }).find("next update") !=
        std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices[0].identity.site = "branch"; }).find("not an identity") !=
        std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices[0].mask_key.reset(); }).find("mask key") != std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices[0].spa_keys.clear(); }).find("SPA keys") != std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices[0].addresses.clear(); }).find("without an address") != std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices[0].spa_keys.push_back(r.devices[0].spa_keys[0]); }).find("generation") !=
        std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices[3].addresses.push_back({}); }).find("a client with") != std::string::npos);
  CHECK(complaint([](Roster& r) { r.devices[1].dns_port = 53; }).find("DNS port") != std::string::npos);
}

TEST_CASE("roster store: takes newer rosters and says what changed", "[natt][identity]") {
  TestPki site;
  fill(site);
  RosterStore store(site.ca(), RosterView::kFull);
  CHECK(store.is_stale(kTestNow));

  const auto first = store.handle_roster(site.signed_roster(3));
  REQUIRE(first);
  CHECK(first->number == 3);
  CHECK(first->added.size() == 4);
  CHECK_FALSE(store.is_stale(kTestNow + std::chrono::hours(24)));
  CHECK(store.is_stale(kTestNow + std::chrono::hours(24) + std::chrono::milliseconds(1)));

  site.device(Role::kGateway, "gw1").addresses.clear();
  static_cast<void>(site.device(Role::kClient, "carol"));
  Roster next = site.roster(4);
  std::erase_if(next.devices, [](const RosterDevice& device) { return device.identity.name == "bob"; });
  next.revoked = {revoked(site, Role::kClient, "alice")};
  const auto second = store.handle_roster(*site.authority().sign_roster(next));

  REQUIRE(second);
  CHECK(second->added == std::vector{site.identity(Role::kClient, "carol")});
  CHECK(second->removed == std::vector{site.identity(Role::kClient, "bob")});
  CHECK(second->changed == std::vector{site.identity(Role::kGateway, "gw1")});
  CHECK(second->revoked == next.revoked);
  CHECK(store.roster()->admits(site.identity(Role::kClient, "alice"), next.revoked[0].serial).error().code ==
        Errc::kRevoked);
  CHECK(store.roster()->admits(site.identity(Role::kClient, "bob"), {}).error().code == Errc::kRevoked);
  CHECK(store.roster()->admits(site.identity(Role::kClient, "carol"), {}));
}

TEST_CASE("roster store: never rolls back", "[natt][identity]") {
  TestPki site;
  fill(site);
  RosterStore store(site.ca(), RosterView::kFull);
  const SignedRoster old = site.signed_roster(5);
  REQUIRE(store.handle_roster(site.signed_roster(6)));

  CHECK(store.handle_roster(old).error().code == Errc::kRefused);
  CHECK(store.handle_roster(site.signed_roster(6))->number == 0);  // signed again, says the same
  static_cast<void>(site.device(Role::kClient, "mallory"));
  CHECK(store.handle_roster(site.signed_roster(6)).error().code == Errc::kMalformed);

  CHECK(store.number() == 6);
  CHECK(store.roster()->find(site.identity(Role::kClient, "mallory")) == nullptr);
  CHECK(store.stats().rejected_rollback == 1);
  CHECK(store.stats().rejected_malformed == 1);
  CHECK(store.stats().unchanged == 1);
}

TEST_CASE("roster store: a refused roster changes nothing", "[natt][identity]") {
  TestPki site;
  TestPki other("hq", 2);
  fill(site);
  fill(other);
  RosterStore store(site.ca(), RosterView::kFull);
  REQUIRE(store.handle_roster(site.signed_roster(1)));
  SignedRoster mixed = site.signed_roster(3);
  mixed.client = site.signed_roster(2).client;
  SignedRoster forged = site.signed_roster(3);
  forged.client = other.signed_roster(3).client;

  CHECK(store.handle_roster(other.signed_roster(9)).error().code == Errc::kUntrusted);
  CHECK(store.handle_roster(mixed).error().code == Errc::kMalformed);
  CHECK(store.handle_roster(forged).error().code == Errc::kUntrusted);
  CHECK_FALSE(store.handle_roster({}));

  CHECK(store.number() == 1);
  CHECK(store.stats().accepted == 1);
}

TEST_CASE("roster store: a client goes by the client view alone", "[natt][identity]") {
  TestPki site;
  fill(site);
  RosterStore store(site.ca(), RosterView::kClient);
  SignedRoster documents = site.signed_roster(1);
  documents.full.clear();

  REQUIRE(store.handle_roster(documents));

  CHECK(store.roster()->devices.size() == 2);
}
