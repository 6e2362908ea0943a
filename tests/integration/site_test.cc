// SPDX-License-Identifier: Apache-2.0
// Broker, gateway and client as the programs compose them, on real sockets over loopback.
#include <algorithm>
#include <atomic>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/errc.h>

#include "integration/loopback_site.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("site: a stream travels through a direct tunnel and back", "[integration][site]") {
  LoopbackSite site({});
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);

  application.write(as_bytes("hello"));

  CHECK(site.loop.run_until([&] { return application.received == "hello"; }));
  CHECK(site.connection_type() == ConnectionType::kDirect);
  CHECK(site.gateway->connections().size() == 1);
}

TEST_CASE("site: without a known address the tunnel runs through the relay", "[integration][site]") {
  LoopbackSite site({.direct = false});
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);

  application.write(as_bytes("hello"));

  CHECK(site.loop.run_until([&] { return application.received == "hello"; }, 8000));
  CHECK(site.connection_type() == ConnectionType::kRelay);
  CHECK(site.broker->relay_load().sessions == 1);
  CHECK(site.gateway->connections().at(0).type == ConnectionType::kRelay);
}

TEST_CASE("site: sixteen megabytes come back unchanged, and both half-closes arrive", "[integration][site]") {
  const bool direct = GENERATE(true, false);
  const auto protocol = GENERATE(tunnel::TunnelProtocol::kQuic, tunnel::TunnelProtocol::kTls);
  CAPTURE(direct, protocol);
  LoopbackSite site({.direct = direct, .protocol = protocol});
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  const std::string sent = text_pattern(16 << 20);

  application.write(as_bytes(sent));
  application.shutdown();

  CHECK(site.loop.run_until([&] { return application.eof; }, 30'000));
  CHECK(application.received == sent);
  CHECK(site.loop.run_until([&] { return site.gateway->stream_count() == 0; }));
  CHECK_FALSE(application.reset);
}

TEST_CASE("site: two hundred streams at once keep their bytes apart", "[integration][site]") {
  const auto protocol = GENERATE(tunnel::TunnelProtocol::kQuic, tunnel::TunnelProtocol::kTls);
  CAPTURE(protocol);
  LoopbackSite site({.protocol = protocol});
  site.open_all();
  std::vector<std::unique_ptr<LocalApplication>> applications;
  for (int i = 0; i < 200; ++i) {
    applications.push_back(std::make_unique<LocalApplication>(site.loop));
    site.open_echo(*applications.back());
    applications.back()->write(as_bytes("stream " + std::to_string(i)));
    applications.back()->shutdown();
  }

  CHECK(site.loop.run_until([&] {
    return std::all_of(applications.begin(), applications.end(), [](const auto& each) { return each->eof; });
  }, 20'000));

  for (int i = 0; i < 200; ++i) {
    CHECK(applications[static_cast<std::size_t>(i)]->received == "stream " + std::to_string(i));
  }
  CHECK(site.gateway->connections().size() == 1);
}

TEST_CASE("site: a target that no rule allows is refused with 403 and the connection reset", "[integration][site]") {
  const auto protocol = GENERATE(tunnel::TunnelProtocol::kQuic, tunnel::TunnelProtocol::kTls);
  CAPTURE(protocol);
  LoopbackSite site({.protocol = protocol});
  site.open_all();
  LocalApplication application(site.loop);
  const auto target = tunnel::Authority::of({IpAddress::v4({127, 0, 0, 1}), site.policy.forbidden_port});
  const auto id = site.client->open_stream(uv::now(), "gw1", target);
  site.client->attach(uv::now(), id, application.take_other_end());

  CHECK(site.loop.run_until([&] { return site.failed.contains(id); }));
  CHECK(site.failed[id].status == 403);
  CHECK(site.failed[id].reason == "no rule");
  CHECK(site.loop.run_until([&] { return application.reset; }));
}

TEST_CASE("site: a gateway that does not know the client refuses its offer", "[integration][site]") {
  LoopbackSite site({.direct = false});
  site.policy.allowed = "somebody else";
  site.open_all();
  LocalApplication application(site.loop);
  const auto id = site.open_echo(application);

  CHECK(site.loop.run_until([&] { return site.failed.contains(id); }));
  CHECK(site.failed[id].reason.find("not-entitled") != std::string::npos);
  CHECK(site.gateway->session_count() == 0);
}

TEST_CASE("site: revoking a client at the broker ends its tunnel within a second", "[integration][site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site({.direct = direct});
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes("hello"));
  REQUIRE(site.loop.run_until([&] { return application.received == "hello"; }, 8000));

  site.revoke(Role::kClient, "alice");

  CHECK(site.loop.run_until([&] { return application.reset && site.gateway->connections().empty(); }, 1000));
  CHECK(site.broker->relay_load().sessions == 0);
  CHECK(site.broker->sites(uv::wall_now())[0].clients_online == 0);
}

TEST_CASE("site: a roster that cannot be written is acknowledged when it can", "[integration][site]") {
  LoopbackSite site({});
  site.open_broker();
  site.open_gateway();
  REQUIRE(site.loop.run_until([&] { return site.broker->sites(uv::wall_now())[0].gateways_online == 1; }));
  const auto settled = [&] {
    for (std::uint64_t before = ~0ull; before != site.broker->signal_stats().messages_in;) {
      before = site.broker->signal_stats().messages_in;
      static_cast<void>(site.loop.run_until([] { return false; }, 150));
    }
    return site.broker->signal_stats().messages_in;
  };
  const std::uint64_t before = settled();

  site.disk_is_full = true;
  site.push_roster();
  CHECK(site.loop.run_until([&] { return site.persist_calls >= 3; }));
  // It is in force, and nobody was told that it is kept.
  CHECK(site.gateway->roster().number == site.broker->sites(uv::wall_now())[0].roster_number);
  CHECK(settled() == before);

  site.disk_is_full = false;
  CHECK(site.loop.run_until([&] { return site.broker->signal_stats().messages_in == before + 1; }));
  const int calls = site.persist_calls;
  CHECK(settled() == before + 1);
  CHECK(site.persist_calls == calls);
  // The next one at once.
  site.push_roster();
  CHECK(site.loop.run_until([&] { return site.broker->signal_stats().messages_in == before + 2; }));
}

TEST_CASE("site: a roster that the broker cannot write is in force, and written when it can", "[integration][site]") {
  LoopbackSite site({});
  site.open_broker();
  site.open_gateway();
  const auto state = [&] { return site.broker->sites(uv::wall_now())[0]; };
  REQUIRE(site.loop.run_until([&] { return state().gateways_online == 1; }));
  const std::uint64_t first = state().roster_number;
  std::atomic<bool> is_full = true;
  std::atomic<int> writes = 0;

  site.load_roster([&]() -> Result<void> {
    ++writes;
    if (is_full) return fail(Errc::kIo, "no room");
    return {};
  });
  REQUIRE(site.loop.run_until([&] { return state().roster_number > first; }));
  CHECK(state().roster_not_persisted == "no room");
  CHECK(site.loop.run_until([&] { return site.gateway->roster().number == state().roster_number; }));
  REQUIRE(site.loop.run_until([&] { return writes >= 3; }));
  CHECK(state().roster_not_persisted == "no room");

  is_full = false;
  CHECK(site.loop.run_until([&] { return state().roster_not_persisted.empty(); }));
  const int before = writes;
  static_cast<void>(site.loop.run_until([] { return false; }, 200));
  CHECK(writes == before);
}

TEST_CASE("site: a direct tunnel outlives its broker and loses nothing", "[integration][site]") {
  const auto protocol = GENERATE(tunnel::TunnelProtocol::kQuic, tunnel::TunnelProtocol::kTls);
  CAPTURE(protocol);
  LoopbackSite site({.protocol = protocol});
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes("before"));
  REQUIRE(site.loop.run_until([&] { return application.received == "before"; }));

  site.broker.reset();
  application.write(as_bytes(" after"));

  CHECK(site.loop.run_until([&] { return application.received == "before after"; }));
  site.open_broker();
  CHECK(site.loop.run_until([&] { return site.broker->sites(uv::wall_now())[0].clients_online == 1; }, 10'000));
  // The new broker learns from the client what it never saw.
  CHECK(site.loop.run_until([&] { return site.broker->sessions().size() == 1; }));
  application.write(as_bytes(" all"));
  CHECK(site.loop.run_until([&] { return application.received == "before after all"; }));
  CHECK(site.connection_type() == ConnectionType::kDirect);
  CHECK_FALSE(application.reset);
}

TEST_CASE("site: a restarted gateway is raced for again", "[integration][site]") {
  LoopbackSite site({});
  site.open_all();
  REQUIRE(site.connect());

  site.gateway.reset();
  site.loop.run_turns();
  site.open_gateway();

  LocalApplication application(site.loop);
  CHECK(site.loop.run_until([&] { return site.gateway->connections().size() == 1; }, 20'000));
  site.open_echo(application);
  application.write(as_bytes("again"));
  CHECK(site.loop.run_until([&] { return application.received == "again"; }));
}

TEST_CASE("site: destroying any part in the middle of a transfer is boring", "[integration][site]") {
  const int part = GENERATE(0, 1, 2);
  CAPTURE(part);
  LoopbackSite site({.direct = part != 2});
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes(text_pattern(4 << 20)));
  REQUIRE(site.loop.run_until([&] { return application.received.size() > 100'000; }, 8000));

  if (part == 0) site.client.reset();
  if (part == 1) site.gateway.reset();
  if (part == 2) site.broker.reset();

  site.loop.run_turns(20);
  if (part == 0) CHECK(site.loop.run_until([&] { return application.reset; }));
  SUCCEED("no callback after the destructor; the loop closes in the fixture");
}

TEST_CASE("site: a client whose gateway cannot be reached says why", "[integration][site]") {
  LoopbackSite site({.direct = false, .race_timeout = 1500ms});
  site.open_broker();
  site.open_client();
  LocalApplication application(site.loop);
  const auto id = site.open_echo(application);

  CHECK(site.loop.run_until([&] { return site.failed.contains(id); }));
  CHECK(site.failed[id].status == 0);
  CHECK(site.failed[id].reason.find("gateway-offline") != std::string::npos);
}

TEST_CASE("site: datagrams of a UDP flow reach their target and come back", "[integration][site]") {
  const bool direct = GENERATE(true, false);
  const auto protocol = GENERATE(tunnel::TunnelProtocol::kQuic, tunnel::TunnelProtocol::kTls);
  CAPTURE(direct, protocol);
  LoopbackSite site({.direct = direct, .protocol = protocol});
  site.open_all();
  // Over TLS as large as an Ethernet frame takes.
  const std::size_t size = protocol == tunnel::TunnelProtocol::kTls ? 1472 : 1200;
  UdpEcho echo(site.loop.get());
  const auto id = site.client->open_udp(uv::now(), "gw1", tunnel::Authority::of(echo.address()));
  CHECK_FALSE(site.client->send_datagram(uv::now(), id, as_bytes("too early")));
  REQUIRE(site.loop.run_until([&] { return !site.opened.empty(); }, 8000));

  CHECK(site.client->send_datagram(uv::now(), id, as_bytes("one")));
  CHECK(site.client->send_datagram(uv::now(), id, as_bytes(text_pattern(size))));

  CHECK(site.loop.run_until([&] { return site.datagrams[id].size() == 2; }));
  CHECK(site.datagrams[id].at(0) == "one");
  CHECK(site.datagrams[id].at(1) == text_pattern(size));
  site.client->cancel(uv::now(), id);
  CHECK(site.loop.run_until([&] { return site.gateway->stream_count() == 0; }));
}

TEST_CASE("site: a UDP flow that no rule allows is refused", "[integration][site]") {
  LoopbackSite site({});
  site.open_all();
  const auto target = tunnel::Authority::of({IpAddress::v4({127, 0, 0, 1}), site.policy.forbidden_port});
  const auto id = site.client->open_udp(uv::now(), "gw1", target);

  CHECK(site.loop.run_until([&] { return site.failed.contains(id); }));
  CHECK(site.failed[id].status == 403);
}
