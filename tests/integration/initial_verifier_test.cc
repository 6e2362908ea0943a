// SPDX-License-Identifier: Apache-2.0
// The gateway's door, with real frames: which Initials are admitted, and which packets may
// make a path. A path costs an entry of a bounded table, so copies must not make any.
#include <natt/spa/knocker.h>
#include <natt/uv/timer.h>

#include <catch2/catch_test_macros.hpp>

#include "src/uv/gateway/initial_verifier.h"
#include "support/test_pki.h"

using namespace natt;
using tunnel::InitialInfo;
using tunnel::uv::InitialVerifier;

namespace {

class OneClient final : public tunnel::uv::GatewayPolicy {
 public:
  std::string allowed = "alice";
  [[nodiscard]] bool knows(const Identity& client) const override { return client.name == allowed; }
  [[nodiscard]] Verdict check_stream(const Identity&, tunnel::Protocol, const tunnel::Authority&,
                                     const std::vector<IpAddress>&) const override {
    return {};
  }
  [[nodiscard]] Verdict check_packet(const Identity&, const tunnel::InnerPacket&) const override { return {}; }
};

// A gateway that lists alice, and alice's first packet.
struct Door {
  test::TestPki pki;
  test::SeededRandom random{1};
  OneClient policy;
  Endpoint endpoint{{}, random};
  spa::KeyPair gateway_keys = spa::KeyPair::generate(random);
  spa::KeyPair alice_keys = spa::KeyPair::generate(random);
  spa::SitePsk psk{random.bytes<32>()};
  Identity gateway = pki.identity(Role::kGateway, "gw1");
  Identity alice = pki.identity(Role::kClient, "alice");
  ByteBuffer dcid = ByteBuffer(18, 0xd0);
  ByteBuffer scid = ByteBuffer(16, 0x5c);
  Roster roster;
  std::unique_ptr<InitialVerifier> verifier;
  spa::Frame token{};
  SocketAddress own = source(0);

  Door() {
    pki.device(Role::kGateway, "gw1").spa_keys = {{1, gateway_keys.public_key().bytes}};
    pki.device(Role::kClient, "alice").spa_keys = {{1, alice_keys.public_key().bytes}};
    InitialVerifier::Options options{.gateway = gateway, .psk = psk, .replay_journal = {}, .keys_made = {},
                                     .retired = {}, .policy = policy};
    options.keys.push_back(spa::KeyPair::from_secret(gateway_keys.secret()));
    roster = pki.roster(1);
    auto made = InitialVerifier::make(std::move(options), roster, endpoint, random, {});
    REQUIRE(made);
    verifier = std::move(*made);
    verifier->handle_timeout(uv::now(), uv::wall_now());
    const auto pair = spa::PairKey::derive(alice_keys, gateway_keys.public_key(), spa::DeviceId::of(alice),
                                           spa::DeviceId::of(gateway), psk);
    REQUIRE(pair);
    spa::Knocker knocker({.device = alice, .verifier = gateway, .mask = *pki.device(Role::kGateway, "gw1").mask_key,
                          .key_generation = 1},
                         *pair, random);
    // Without a journal, frames of before the start are refused.
    token = knocker.make_quic_token(uv::wall_now() + std::chrono::seconds(1), knocker.next_knock_id(), dcid, scid);
  }

  [[nodiscard]] static SocketAddress source(std::uint16_t number) {
    return {IpAddress::v4({203, 0, 113, static_cast<std::uint8_t>(number % 250 + 1)}),
            static_cast<std::uint16_t>(2000 + number)};
  }
  // docs/WIRE.md section 1.6; what follows the length is the library's.
  [[nodiscard]] ByteBuffer datagram() const {
    ByteBuffer bytes{0xc3, 0, 0, 0, 1, static_cast<std::uint8_t>(dcid.size())};
    bytes.insert(bytes.end(), dcid.begin(), dcid.end());
    bytes.push_back(static_cast<std::uint8_t>(scid.size()));
    bytes.insert(bytes.end(), scid.begin(), scid.end());
    bytes.insert(bytes.end(), {0x40, 0x40});
    bytes.insert(bytes.end(), token.begin(), token.end());
    bytes.insert(bytes.end(), {0x44, 0x00});
    bytes.resize(1200, 0xaa);
    return bytes;
  }
  [[nodiscard]] bool may_create(const SocketAddress& from) {
    return verifier->may_create_path(uv::now(), from, datagram());
  }
  [[nodiscard]] std::optional<tunnel::Admission> admit(const SocketAddress& from) {
    const auto path = endpoint.create_path(Route::direct(from));
    REQUIRE(path);
    return verifier->admit(uv::now(), InitialInfo{1, dcid, scid, token}, *path);
  }
  [[nodiscard]] std::uint64_t dropped(spa::DropReason reason) const { return verifier->stats().dropped(reason); }
};

}  // namespace

TEST_CASE("initial verifier: a client's Initial makes a path and is admitted", "[integration][initial_verifier]") {
  Door door;
  CHECK(door.may_create(door.own));
  const auto admitted = door.admit(door.own);
  REQUIRE(admitted);
  CHECK(admitted->identity == door.alice);
  CHECK(admitted->expectation.identity == door.alice);
}

TEST_CASE("initial verifier: an admitted Initial makes no path from anywhere else", "[integration][initial_verifier]") {
  Door door;
  REQUIRE(door.may_create(door.own));
  REQUIRE(door.admit(door.own));

  std::size_t paths = 0;
  for (std::uint16_t i = 1; i <= 1000; ++i) paths += door.may_create(Door::source(i)) ? 1U : 0U;
  CHECK(paths == 0);
  CHECK(door.dropped(spa::DropReason::kReplayed) == 1000);
  // The client's own retransmission still does, should its path have been forgotten.
  CHECK(door.may_create(door.own));
  CHECK(door.admit(door.own));
}

TEST_CASE("initial verifier: an admitted token makes no path for other connection ids",
          "[integration][initial_verifier]") {
  Door door;
  REQUIRE(door.may_create(door.own));
  REQUIRE(door.admit(door.own));
  door.dcid[3] ^= 1;
  CHECK_FALSE(door.may_create(door.own));
}

TEST_CASE("initial verifier: strangers make no path", "[integration][initial_verifier]") {
  Door door;
  SECTION("with a random token") { door.token = door.random.bytes<64>(); }
  SECTION("with another client's token that was damaged") { door.token[40] ^= 1; }
  SECTION("with a short datagram") { CHECK_FALSE(door.verifier->may_create_path(uv::now(), door.own, ByteBuffer(20))); }
  door.token[0] ^= 1;
  CHECK_FALSE(door.may_create(door.own));
  CHECK_FALSE(door.admit(door.own));
}

TEST_CASE("initial verifier: connection ids of this gateway make a path, others do not",
          "[integration][initial_verifier]") {
  Door door;
  const auto id = door.verifier->connection_ids().make(door.random);
  ByteBuffer packet{0x40};
  packet.insert(packet.end(), id.begin(), id.end());
  packet.resize(100);
  CHECK(door.verifier->may_create_path(uv::now(), door.own, packet));
  packet[5] ^= 1;
  CHECK_FALSE(door.verifier->may_create_path(uv::now(), door.own, packet));
}

TEST_CASE("initial verifier: a client without entitlements is not admitted", "[integration][initial_verifier]") {
  Door door;
  door.policy.allowed = "bob";
  CHECK_FALSE(door.admit(door.own));
}
