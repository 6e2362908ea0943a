// SPDX-License-Identifier: Apache-2.0
// Relaying over TCP with a real broker and the signaling of both ends, on real sockets over loopback.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/tcp_relay.h>

#include "integration/relay_site.h"
#include "support/pattern.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

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
  REQUIRE(site.loop.run_until([&] { return !site.alice->legs.empty(); }));
  // More than the broker reads of a leg that is not paired.
  const ByteBuffer early = pattern(200'000, 3);
  site.client_leg().connection->write(early);
  static_cast<void>(site.loop.run_until([] { return false; }, 200));
  CHECK(site.broker->tcp_relay_stats().crowded == 0);

  site.gateway->join();

  CHECK(site.loop.run_until([&] {
    return !site.gateway->legs.empty() && site.gateway_leg().received.size() >= early.size();
  }));
  CHECK(site.gateway_leg().received == early);
}

TEST_CASE("tcp relay: half-close travels each way and the other way goes on", "[integration][tcp_relay]") {
  const bool client_first = GENERATE(true, false);
  CAPTURE(client_first);
  RelaySite site;
  site.join_both();
  WatchedConnection& first = client_first ? site.client_leg() : site.gateway_leg();
  WatchedConnection& second = client_first ? site.gateway_leg() : site.client_leg();
  const ByteBuffer last = pattern(std::size_t{3} << 20, 4);

  first.connection->write(last);
  first.connection->shutdown();
  REQUIRE(site.loop.run_until([&] { return second.eof; }));
  CHECK(second.received == last);
  CHECK(site.broker->relay_load().sessions == 1);

  second.connection->write(last);
  REQUIRE(site.loop.run_until([&] { return first.received.size() == last.size(); }));
  CHECK(first.received == last);
  CHECK_FALSE(first.over());

  second.connection->shutdown();
  CHECK(site.loop.run_until([&] { return first.eof && site.broker->relay_load().sessions == 0; }));
  CHECK_FALSE(first.reset);
  CHECK_FALSE(second.reset);
}

TEST_CASE("tcp relay: octets that wait behind a slow reader survive the end of both halves",
          "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();
  site.gateway_leg().connection->shutdown();
  REQUIRE(site.loop.run_until([&] { return site.client_leg().eof; }));
  site.gateway_leg().connection->pause_reading();
  // Until the gateway's side takes no more: the rest is with the broker.
  const ByteBuffer piece = pattern(std::size_t{256} << 10, 9);
  std::size_t sent = 0;
  do {
    site.client_leg().connection->write(piece);
    sent += piece.size();
    site.settle();
  } while (site.broker->relay_stats().bytes_forwarded == sent && sent < std::size_t{64} << 20);
  REQUIRE(site.broker->relay_stats().bytes_forwarded < sent);

  site.client_leg().connection->shutdown();
  site.settle();
  CHECK(site.broker->relay_load().sessions == 1);
  site.gateway_leg().connection->resume_reading();
  REQUIRE(site.loop.run_until([&] { return site.gateway_leg().over() || site.gateway_leg().eof; }, 10'000));
  CHECK(site.gateway_leg().received.size() == sent);
  CHECK_FALSE(site.gateway_leg().reset);
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 0; }));
}

TEST_CASE("tcp relay: a leg that is reset resets the other", "[integration][tcp_relay]") {
  const bool client_dies = GENERATE(true, false);
  const bool half_closed = GENERATE(true, false);
  CAPTURE(client_dies, half_closed);
  RelaySite site;
  site.join_both();
  WatchedConnection& dying = client_dies ? site.client_leg() : site.gateway_leg();
  WatchedConnection& other = client_dies ? site.gateway_leg() : site.client_leg();
  if (half_closed) {
    dying.connection->shutdown();
    REQUIRE(site.loop.run_until([&] { return other.eof; }));
  }

  dying.connection->abort();

  // After its end of stream an end looks at its connection no more until it writes.
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 0; }));
  if (!half_closed) CHECK(site.loop.run_until([&] { return other.reset; }));
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

TEST_CASE("tcp relay: a leg that goes while the other one sends ends both", "[integration][tcp_relay]") {
  // After its FIN the kernel says EPIPE, and raises SIGPIPE.
  const bool half_closed = GENERATE(true, false);
  CAPTURE(half_closed);
  RelaySite site;
  site.join_both();
  const ByteBuffer much = pattern(std::size_t{40} << 20, 7);
  if (half_closed) site.gateway_leg().connection->shutdown();
  site.client_leg().connection->write(much);
  REQUIRE(site.loop.run_until([&] { return site.gateway_leg().received.size() > 1'000'000; }));
  site.gateway_leg().connection->pause_reading();
  site.settle();

  site.gateway_leg().connection->abort();

  CHECK(site.loop.run_until([&] { return site.client_leg().reset; }));
  CHECK(site.broker->relay_load().sessions == 0);
}

TEST_CASE("tcp relay: a broker that goes resets both ends", "[integration][tcp_relay]") {
  RelaySite site;
  site.join_both();
  site.client_leg().connection->write(as_bytes("last"));
  REQUIRE(site.loop.run_until([&] { return site.gateway_leg().text() == "last"; }));

  site.broker.reset();

  CHECK(site.loop.run_until([&] { return site.client_leg().reset && site.gateway_leg().reset; }));
}
