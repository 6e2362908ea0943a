// SPDX-License-Identifier: Apache-2.0
// Relaying over TCP with a real broker and the signaling of both ends, on real sockets over loopback.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <natt/errc.h>
#include <natt/tcp_relay.h>

#include "integration/relay_site.h"
#include "support/seeded_random.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

ByteBuffer pattern(std::size_t size, std::uint64_t seed) {
  ByteBuffer bytes(size);
  SeededRandom random(seed);
  random.fill(bytes);
  return bytes;
}

uv::BrokerOptions in_mode(SpaMode mode) { return {.address = {}, .mode = mode, .relay_key = {}}; }

// As many descriptors as the process has, as long as it lives.
class NoFreeDescriptor {
 public:
  NoFreeDescriptor() {
    const int next = ::dup(0);
    ::close(next);
    ::getrlimit(RLIMIT_NOFILE, &former_);
    const rlimit none{static_cast<rlim_t>(next), former_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoFreeDescriptor() { ::setrlimit(RLIMIT_NOFILE, &former_); }
  NoFreeDescriptor(const NoFreeDescriptor&) = delete;
  NoFreeDescriptor& operator=(const NoFreeDescriptor&) = delete;

 private:
  rlimit former_{};
};

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

uv::BrokerOptions logging_to(std::vector<std::string>& lines) {
  uv::BrokerOptions options = in_mode(SpaMode::kTcp);
  options.log = {.write = [](void* context, LogLevel level, std::string_view line) {
                   if (level >= LogLevel::kWarning) static_cast<std::vector<std::string>*>(context)->emplace_back(line);
                 },
                 .context = &lines};
  return options;
}

bool said(const std::vector<std::string>& lines, std::string_view event) {
  return std::any_of(lines.begin(), lines.end(), [&](const auto& line) { return line.starts_with(event); });
}

void settle(RelaySite& site) { static_cast<void>(site.loop.run_until([] { return false; }, 100)); }

}  // namespace

TEST_CASE("tcp relay: megabytes arrive unchanged both ways, in both SPA modes", "[integration][tcp_relay]") {
  const SpaMode mode = GENERATE(SpaMode::kUdpTcp, SpaMode::kTcp);
  CAPTURE(to_string(mode));
  RelaySite site(in_mode(mode));
  site.join_both();
  const ByteBuffer up = pattern(std::size_t{6} << 20, 1);
  const ByteBuffer down = pattern(std::size_t{7} << 20, 2);

  site.client_leg().connection->write(up);
  site.gateway_leg().connection->write(down);

  CHECK(site.loop.run_until([&] {
    return site.gateway_leg().received.size() >= up.size() && site.client_leg().received.size() >= down.size();
  }, 10'000));
  CHECK(site.gateway_leg().received == up);
  CHECK(site.client_leg().received == down);
  const auto reports = site.broker->relay_sessions();
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].transport == RelayTransport::kTcp);
  CHECK(reports[0].client == site.alice_identity);
  CHECK(reports[0].gateway == site.gateway_identity);
  CHECK(reports[0].bytes_from_client == up.size());
  CHECK(reports[0].bytes_from_gateway == down.size());
  CHECK(reports[0].client_address == site.client_leg().connection->local_address());
  CHECK(reports[0].gateway_address == site.gateway_leg().connection->local_address());
  CHECK(site.broker->relay_load().sessions == 1);
  CHECK(site.broker->tcp_relay_stats().bytes_forwarded == up.size() + down.size());
}

TEST_CASE("tcp relay: what an end says before the other one joins comes first", "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  site.alice->join();
  REQUIRE(site.loop.run_until([&] { return !site.alice->legs.empty(); }, 3000));
  // More than the broker reads of a leg that is not paired.
  const ByteBuffer early = pattern(200'000, 3);
  site.client_leg().connection->write(early);
  static_cast<void>(site.loop.run_until([] { return false; }, 200));
  CHECK(site.broker->tcp_relay_stats().crowded == 0);

  site.gateway->join();

  CHECK(site.loop.run_until([&] {
    return !site.gateway->legs.empty() && site.gateway_leg().received.size() >= early.size();
  }, 5000));
  CHECK(site.gateway_leg().received == early);
}

TEST_CASE("tcp relay: half-close travels each way and the other way goes on", "[integration][tcp_relay]") {
  const bool client_first = GENERATE(true, false);
  CAPTURE(client_first);
  RelaySite site;
  site.join_both();
  JoinedLeg& first = client_first ? site.client_leg() : site.gateway_leg();
  JoinedLeg& second = client_first ? site.gateway_leg() : site.client_leg();
  const ByteBuffer last = pattern(std::size_t{3} << 20, 4);

  first.connection->write(last);
  first.connection->shutdown();
  REQUIRE(site.loop.run_until([&] { return second.eof; }, 5000));
  CHECK(second.received == last);
  CHECK(site.broker->relay_load().sessions == 1);

  second.connection->write(last);
  REQUIRE(site.loop.run_until([&] { return first.received.size() == last.size(); }, 5000));
  CHECK(first.received == last);
  CHECK_FALSE(first.over());

  second.connection->shutdown();
  CHECK(site.loop.run_until([&] { return first.eof && site.broker->relay_load().sessions == 0; }, 3000));
  CHECK_FALSE(first.reset);
  CHECK_FALSE(second.reset);
}

TEST_CASE("tcp relay: a leg that is reset resets the other", "[integration][tcp_relay]") {
  const bool client_dies = GENERATE(true, false);
  const bool half_closed = GENERATE(true, false);
  CAPTURE(client_dies, half_closed);
  RelaySite site;
  site.join_both();
  JoinedLeg& dying = client_dies ? site.client_leg() : site.gateway_leg();
  JoinedLeg& other = client_dies ? site.gateway_leg() : site.client_leg();
  if (half_closed) {
    dying.connection->shutdown();
    REQUIRE(site.loop.run_until([&] { return other.eof; }, 3000));
  }

  dying.connection->abort();

  // After its end of stream an end looks at its connection no more until it writes.
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 0; }, 3000));
  if (!half_closed) CHECK(site.loop.run_until([&] { return other.reset; }, 3000));
  CHECK(site.broker->tcp_relay_stats().pairs_closed == 1);
}

TEST_CASE("tcp relay: a receiver that does not read stops the sender", "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();
  site.gateway_leg().connection->pause_reading();
  const ByteBuffer much = pattern(std::size_t{48} << 20, 5);

  site.client_leg().connection->write(much);
  static_cast<void>(site.loop.run_until([] { return false; }, 500));
  // Socket buffers on the way take some megabytes, the broker's process none.
  CHECK(site.client_leg().connection->write_queue_bytes() > (std::size_t{16} << 20));

  site.gateway_leg().connection->resume_reading();
  CHECK(site.loop.run_until([&] { return site.gateway_leg().received.size() >= much.size(); }, 20'000));
  CHECK(site.gateway_leg().received == much);
}

TEST_CASE("tcp relay: the token of somebody else opens nothing and stays good", "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());

  site.mallory->join(site.alice->grants.back());
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().wrong_identity > 0; }, 4000));
  CHECK(site.loop.run_until([&] { return !site.mallory->legs.empty() && site.mallory->legs[0]->over(); }, 3000));
  CHECK(site.mallory->legs[0]->received.empty());

  site.alice->join();
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 1; }, 4000));
}

TEST_CASE("tcp relay: a token is good for one leg", "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();
  const auto grant = site.alice->grants.back();

  site.alice->join(grant);

  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().used_token > 0; }, 4000));
  CHECK(site.loop.run_until([&] { return site.alice->legs.size() == 2 && site.alice->legs[1]->over(); }, 3000));
  site.alice->legs[0]->connection->write(as_bytes("still"));
  CHECK(site.loop.run_until([&] { return site.gateway_leg().text() == "still"; }, 3000));
}

TEST_CASE("tcp relay: revoking an end resets its session in the same turn", "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();

  site.revoke(site.alice_identity);

  CHECK(site.broker->relay_load().sessions == 0);
  CHECK(site.broker->relay_sessions().empty());
  CHECK(site.loop.run_until([&] { return site.client_leg().reset && site.gateway_leg().reset; }, 1000));
}

TEST_CASE("tcp relay: a leg that waits for the other ends with its device", "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  site.alice->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }, 4000));

  site.revoke(site.alice_identity);

  CHECK(site.loop.run_until([&] { return site.client_leg().over(); }, 1000));
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().revoked_token > 0; }, 4000));
}

TEST_CASE("tcp relay: either end ends the session by signaling", "[integration][tcp_relay]") {
  const bool client_ends = GENERATE(true, false);
  CAPTURE(client_ends);
  RelaySite site;
  site.join_both();
  RelayDevice& ending = client_ends ? *site.alice : *site.gateway;

  ending.send(SessionEnd{.session = ending.grants.back().session, .reason = SessionEndReason::kClosed});

  CHECK(site.loop.run_until([&] { return site.client_leg().over() && site.gateway_leg().over(); }, 3000));
  CHECK(site.broker->relay_load().sessions == 0);
}

TEST_CASE("tcp relay: a leg whose other end never comes is let go after ten seconds", "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  site.alice->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }, 4000));

  CHECK(site.loop.run_until([&] { return site.client_leg().over(); }, 11'000));
  CHECK(site.broker->tcp_relay_stats().left_alone == 1);
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().expired_token > 0; }, 4000));
}

TEST_CASE("tcp relay: requests that lead nowhere are refused with a reason", "[integration][tcp_relay]") {
  SECTION("a quota of sessions") {
    uv::BrokerOptions options = in_mode(SpaMode::kUdpTcp);
    options.relay.per_client.sessions = 1;
    RelaySite site(std::move(options));
    site.join_both();
    static_cast<void>(site.loop.run_until([] { return false; }, 1000));  // one offer a second
    const SessionId second = site.open_session();
    site.alice->send(RelayRequest{.session = second, .transport = RelayTransport::kTcp});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }, 3000));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kQuota);
    CHECK(site.alice->refusals[0].transport == RelayTransport::kTcp);
  }
  SECTION("a gateway that does not relay over TCP") {
    RelaySite site({}, kFeatureRelayUdp);
    site.alice->send(RelayRequest{.session = site.open_session(), .transport = RelayTransport::kTcp});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }, 3000));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kNoRelay);
  }
  SECTION("a gateway that has gone") {
    RelaySite site;
    const SessionId session = site.open_session();
    site.gateway.reset();
    REQUIRE(site.loop.run_until([&] { return site.broker->sites(uv::wall_now())[0].gateways_online == 0; }, 3000));
    site.alice->send(RelayRequest{.session = session, .transport = RelayTransport::kTcp});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }, 3000));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kGatewayOffline);
  }
  SECTION("a renewal") {
    RelaySite site;
    site.join_both();
    site.alice->send(RelayRenewal{.session = site.alice->grants.back().session, .transport = RelayTransport::kTcp,
                                  .sealed = {1}});
    REQUIRE(site.loop.run_until([&] { return !site.alice->refusals.empty(); }, 3000));
    CHECK(site.alice->refusals[0].reason == RefusalReason::kInvalid);
    CHECK(site.broker->relay_load().sessions == 1);
  }
}

TEST_CASE("tcp relay: a rate quota slows a session down and loses nothing", "[integration][tcp_relay]") {
  uv::BrokerOptions options = in_mode(SpaMode::kUdpTcp);
  options.relay.per_client.bits_per_second = 16'000'000;
  RelaySite site(std::move(options));
  site.join_both();
  const ByteBuffer up = pattern(std::size_t{3} << 20, 6);
  const Instant begun = uv::now();

  site.client_leg().connection->write(up);

  CHECK(site.loop.run_until([&] { return site.gateway_leg().received.size() >= up.size(); }, 10'000));
  const auto took = uv::now() - begun;
  CHECK(site.gateway_leg().received == up);
  // 24 Mbit less the burst of 3.2 at 16 Mbit/s: 1.37 s.
  CHECK(took > 1200ms);
  CHECK(took < 8s);
  CHECK(site.broker->tcp_relay_stats().over_rate > 0);
}

TEST_CASE("tcp relay: a grant that is not for TCP, or leads elsewhere, is refused by the end",
          "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  RelayGrantMessage grant = site.alice->grants.back();
  const BrokerIndex broker = site.alice->signaling->connected().at(0);
  SECTION("UDP") { grant.transport = RelayTransport::kUdp; }
  SECTION("elsewhere") { grant.relay.ip = IpAddress::v4({192, 0, 2, 1}); }

  const auto join = site.alice->signaling->join_relay(uv::now(), broker, grant, *site.alice);

  REQUIRE_FALSE(join);
  CHECK(join.error().code == make_error_code(Errc::kUnavailable));
}

TEST_CASE("tcp relay: a copied flight opens nothing", "[integration][tcp_relay]") {
  RelaySite site(in_mode(SpaMode::kTcp));
  site.request_relay(site.open_session());
  const ByteBuffer flight = site.make_flight(site.alice_identity, site.alice->grants.back().pairing_token);
  const auto original = site.connect_raw(flight);
  const std::uint64_t admitted = site.broker->door(uv::now()).connections.admitted;
  REQUIRE(site.loop.run_until([&] { return site.broker->door(uv::now()).connections.admitted > admitted; }, 2000));

  ByteBuffer copied = flight;
  copied.insert(copied.end(), kRelayJoinConfirmation.begin(), kRelayJoinConfirmation.end());
  const auto copy = site.connect_raw(copied);

  REQUIRE(site.loop.run_until([&] { return site.broker->door(uv::now()).connections.rejected_verdict == 1; }, 2000));
  settle(site);
  CHECK(site.broker->tcp_relay_stats().legs_joined == 0);
  CHECK_FALSE(copy->over());
  // The original is the leg, as soon as it says so.
  original->connection->write(kRelayJoinConfirmation);
  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }, 2000));
}

TEST_CASE("tcp relay: a leg that waits and goes is forgotten", "[integration][tcp_relay]") {
  const bool politely = GENERATE(true, false);
  CAPTURE(politely);
  RelaySite site;
  site.request_relay(site.open_session());
  site.alice->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }, 4000));

  politely ? site.client_leg().connection->shutdown() : site.client_leg().connection->abort();

  CHECK(site.loop.run_until([&] { return site.broker->tcp_relay_stats().left_early == 1; }, 2000));
}

TEST_CASE("tcp relay: a leg that goes while the other one sends ends both", "[integration][tcp_relay]") {
  // After its FIN the kernel says EPIPE, and raises SIGPIPE.
  const bool half_closed = GENERATE(true, false);
  CAPTURE(half_closed);
  RelaySite site;
  site.join_both();
  const ByteBuffer much = pattern(std::size_t{40} << 20, 7);
  if (half_closed) site.gateway_leg().connection->shutdown();
  site.client_leg().connection->write(much);
  REQUIRE(site.loop.run_until([&] { return site.gateway_leg().received.size() > 1'000'000; }, 5000));
  site.gateway_leg().connection->pause_reading();
  settle(site);

  site.gateway_leg().connection->abort();

  CHECK(site.loop.run_until([&] { return site.client_leg().reset; }, 3000));
  CHECK(site.broker->relay_load().sessions == 0);
}

TEST_CASE("tcp relay: sessions leave no descriptor behind", "[integration][tcp_relay]") {
  RelaySite site(in_mode(SpaMode::kTcp));
  const SessionId session = site.open_session();
  const ByteBuffer some = pattern(300'000, 8);
  const auto join = [&] {
    const std::uint64_t pairs = site.broker->tcp_relay_stats().pairs_opened;
    const std::size_t legs = site.alice->legs.size() + 1;
    site.request_relay(session);
    site.alice->join();
    site.gateway->join();
    REQUIRE(site.loop.run_until([&] {
      return site.alice->legs.size() == legs && site.gateway->legs.size() == legs &&
             site.broker->tcp_relay_stats().pairs_opened > pairs;
    }, 4000));
    site.client_leg().connection->write(some);
    site.gateway_leg().connection->write(some);
    REQUIRE(site.loop.run_until([&] {
      return site.gateway_leg().received.size() == some.size() && site.client_leg().received.size() == some.size();
    }, 4000));
  };
  std::ptrdiff_t before = 0;
  for (int round = 0; round < 12; ++round) {
    join();
    if (round % 3 == 2) join();  // replaces the pair
    site.client_leg().connection->shutdown();
    round % 3 == 0 ? site.client_leg().connection->abort() : site.gateway_leg().connection->shutdown();
    REQUIRE(site.loop.run_until([&] { return site.broker->relay_load().sessions == 0; }, 4000));
    for (auto* device : {&site.alice, &site.gateway}) {
      (*device)->joins.clear();
      for (const auto& leg : (*device)->legs) leg->connection.reset();
    }
    settle(site);
    if (round == 2) before = open_descriptors();
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("tcp relay: without a descriptor left a pair is refused and the next one is served",
          "[integration][tcp_relay]") {
  std::vector<std::string> lines;
  RelaySite site(logging_to(lines));
  const SessionId session = site.open_session();
  site.request_relay(session);
  site.gateway->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }, 4000));
  const auto client =
      site.connect_raw(site.make_flight(site.alice_identity, site.alice->grants.back().pairing_token));
  settle(site);
  {
    const NoFreeDescriptor none;
    client->connection->write(kRelayJoinConfirmation);
    CHECK(site.loop.run_until([&] { return client->over() && site.gateway_leg().over(); }, 2000));
  }
  CHECK(site.broker->relay_load().sessions == 0);
  CHECK(said(lines, "natt.relay.no_descriptor"));

  site.request_relay(session);
  site.alice->join();
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 1; }, 4000));
}

TEST_CASE("tcp relay: without a descriptor for a pipe octets are copied", "[integration][tcp_relay]") {
  std::vector<std::string> lines;
  RelaySite site(logging_to(lines));
  site.join_both();
  // One way keeps the pipe that there is.
  const ByteBuffer up = pattern(std::size_t{24} << 20, 9);
  const ByteBuffer down = pattern(std::size_t{2} << 20, 10);
  site.gateway_leg().connection->pause_reading();
  site.client_leg().connection->write(up);
  settle(site);
  const NoFreeDescriptor none;

  site.gateway_leg().connection->write(down);

  CHECK(site.loop.run_until([&] { return site.client_leg().received.size() == down.size(); }, 5000));
  CHECK(site.client_leg().received == down);
  CHECK(said(lines, "natt.relay.no_pipe"));
  site.gateway_leg().connection->resume_reading();
  CHECK(site.loop.run_until([&] { return site.gateway_leg().received.size() == up.size(); }, 10'000));
  CHECK(site.gateway_leg().received == up);
}

TEST_CASE("tcp relay: a fast session leaves the others their turn", "[integration][tcp_relay]") {
  RelaySite site(in_mode(SpaMode::kTcp));
  site.join_both();
  static_cast<void>(site.loop.run_until([] { return false; }, 1000));  // one offer a second
  site.join_both();
  JoinedLeg& fast = *site.alice->legs[0];
  JoinedLeg& fast_end = *site.gateway->legs[0];
  JoinedLeg& slow = *site.alice->legs[1];
  JoinedLeg& slow_end = *site.gateway->legs[1];
  const ByteBuffer much = pattern(std::size_t{64} << 20, 11);
  fast.connection->write(much);
  Duration worst{};

  for (std::size_t i = 1; i <= 20; ++i) {
    const Instant asked = uv::now();
    slow.connection->write(as_bytes("x"));
    REQUIRE(site.loop.run_until([&] { return slow_end.received.size() == i; }, 3000));
    worst = std::max(worst, uv::now() - asked);
  }

  CHECK(fast_end.received.size() < much.size());
  CHECK(worst < 1s);
  REQUIRE(site.loop.run_until([&] { return fast_end.received.size() == much.size(); }, 20'000));
  CHECK(fast_end.received == much);
}

TEST_CASE("tcp relay: a join that nobody answers fails, and one that is destroyed says nothing",
          "[integration][tcp_relay]") {
  RelaySite site;
  site.request_relay(site.open_session());
  const auto grant = site.alice->grants.back();
  SECTION("nobody there") {
    // Still an address of the broker, but not its port.
    RelayGrantMessage wrong = grant;
    wrong.relay.port = 1;
    site.alice->join(wrong);
    CHECK(site.loop.run_until([&] { return !site.alice->failed.empty(); }, 5000));
    CHECK(site.alice->failed[0].code == make_error_code(Errc::kRefused));
  }
  SECTION("destroyed") {
    site.alice->join(grant);
    site.alice->joins.clear();
    static_cast<void>(site.loop.run_until([] { return false; }, 500));
    CHECK(site.alice->failed.empty());
    CHECK(site.broker->tcp_relay_stats().legs_joined == 0);
  }
  CHECK(site.alice->legs.empty());
}

TEST_CASE("tcp relay: a gateway joins many relays at once, from one address", "[integration][tcp_relay]") {
  // In mode udp-tcp each of them needs a knock of its own, and they overtake each other.
  RelaySite site;
  constexpr std::size_t kSessions = 4;
  for (std::size_t i = 0; i < kSessions; ++i) {
    if (i > 0) static_cast<void>(site.loop.run_until([] { return false; }, 1000));  // one offer a second
    site.request_relay(site.open_session());
  }
  for (const RelayGrantMessage& grant : site.gateway->grants) site.gateway->join(grant);
  for (const RelayGrantMessage& grant : site.alice->grants) site.alice->join(grant);

  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == kSessions; }, 5000));
  CHECK(site.broker->door(uv::now()).connections.rejected_knock == 0);
}

TEST_CASE("tcp relay: a broker that goes resets both ends", "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();
  site.client_leg().connection->write(as_bytes("last"));
  REQUIRE(site.loop.run_until([&] { return site.gateway_leg().text() == "last"; }, 3000));

  site.broker.reset();

  CHECK(site.loop.run_until([&] { return site.client_leg().reset && site.gateway_leg().reset; }, 3000));
}

TEST_CASE("tcp relay: sessions under one quota share it", "[integration][tcp_relay]") {
  uv::BrokerOptions options = in_mode(SpaMode::kTcp);
  options.relay.per_site.bits_per_second = 24'000'000;
  RelaySite site(std::move(options));
  constexpr std::size_t kSessions = 3;
  for (std::size_t i = 0; i < kSessions; ++i) {
    if (i > 0) static_cast<void>(site.loop.run_until([] { return false; }, 1000));  // one offer a second
    site.join_both();
  }
  const ByteBuffer much = pattern(std::size_t{8} << 20, 12);
  for (const auto& leg : site.alice->legs) leg->connection->write(much);

  static_cast<void>(site.loop.run_until([] { return false; }, 2000));

  std::size_t total = 0;
  std::size_t least = much.size();
  for (const auto& leg : site.gateway->legs) {
    total += leg->received.size();
    least = std::min(least, leg->received.size());
  }
  CHECK(total > 4'000'000);
  CHECK(total < 9'000'000);
  CHECK(least > total / kSessions / 2);
}
