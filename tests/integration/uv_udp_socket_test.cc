// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/udp_socket.h>

#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>
#include <string>
#include <vector>

#include <natt/uv/timer.h>

#include "tests/integration/private_network.h"
#include "tests/integration/uv_loop.h"
#include "tests/support/pattern.h"

using namespace natt;
using namespace std::chrono_literals;

namespace {

struct Train {
  SocketAddress from;
  IpAddress local;
  ByteBuffer bytes;
  std::size_t segment_size;
  std::uint8_t ecn;
};

struct Inbox final : uv::UdpSocket::Listener {
  std::vector<Train> trains;
  int done = 0;
  int writable = 0;
  std::function<void()> on_each;
  std::function<void()> on_done;

  void on_train(Instant, const uv::ReceivedTrain& train) override {
    trains.push_back(
        {train.from, train.local, {train.bytes.begin(), train.bytes.end()}, train.segment_size, train.ecn});
    if (on_each) on_each();
  }
  void on_receive_done(Instant) override {
    ++done;
    if (on_done) on_done();
  }
  void on_writable(Instant) override { ++writable; }

  [[nodiscard]] std::vector<ByteBuffer> datagrams() const {
    std::vector<ByteBuffer> all;
    for (const Train& train : trains) {
      for (std::size_t at = 0; at < train.bytes.size(); at += train.segment_size) {
        const auto end = std::min(at + train.segment_size, train.bytes.size());
        all.emplace_back(train.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                         train.bytes.begin() + static_cast<std::ptrdiff_t>(end));
      }
    }
    return all;
  }
};

SocketAddress address(const std::string& text) { return SocketAddress::parse(text).value(); }

std::unique_ptr<uv::UdpSocket> open_at(test::UvLoop& loop, uv::UdpSocket::Listener& listener,
                                       uv::UdpSocket::Options options) {
  auto socket = uv::UdpSocket::open(loop.get(), options, listener);
  INFO((socket ? "" : socket.error().message));
  REQUIRE(socket);
  return std::move(*socket);
}

std::unique_ptr<uv::UdpSocket> open_at(test::UvLoop& loop, uv::UdpSocket::Listener& listener, const std::string& bind) {
  return open_at(loop, listener, uv::UdpSocket::Options{.bind = address(bind)});
}

std::vector<ByteBuffer> split(const ByteBuffer& header, const ByteBuffer& bytes, std::size_t segment) {
  std::vector<ByteBuffer> out;
  for (std::size_t at = 0; at < bytes.size(); at += segment) {
    ByteBuffer datagram = header;
    const auto end = std::min(at + segment, bytes.size());
    datagram.insert(datagram.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(end));
    out.push_back(std::move(datagram));
  }
  return out;
}

}  // namespace

TEST_CASE("udp socket: a datagram arrives with its sender and the address it was sent to", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, sender_inbox;
  const auto socket = open_at(loop, inbox, "[::]:0");
  const std::uint16_t port = socket->local_address().port;
  const auto sender = open_at(loop, sender_inbox, "127.0.0.1:0");
  const ByteBuffer hello = test::pattern(100, 1);

  CHECK(sender->send({.to = {address("127.0.0.5:1").ip, port}, .from = {}, .header = {}, .bytes = hello}).status ==
        uv::SendStatus::kSent);
  REQUIRE(loop.run_until([&] { return inbox.done > 0; }));

  REQUIRE(inbox.trains.size() == 1);
  CHECK(inbox.trains[0].bytes == hello);
  CHECK(inbox.trains[0].segment_size == 100);
  CHECK(inbox.trains[0].from == sender->local_address());
  CHECK(inbox.trains[0].local == address("127.0.0.5:1").ip);
  CHECK(inbox.trains[0].ecn == 0);
}

TEST_CASE("udp socket: one socket serves both families", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, v4_inbox, v6_inbox;
  const auto socket = open_at(loop, inbox, "[::]:0");
  REQUIRE(socket->dual_stack());
  const std::uint16_t port = socket->local_address().port;
  const auto v4 = open_at(loop, v4_inbox, "127.0.0.1:0");
  const auto v6 = open_at(loop, v6_inbox, "[::1]:0");

  (void)v4->send({.to = {address("127.0.0.1:1").ip, port}, .from = {}, .header = {}, .bytes = test::pattern(10, 1)});
  (void)v6->send({.to = {address("[::1]:1").ip, port}, .from = {}, .header = {}, .bytes = test::pattern(11, 1)});
  REQUIRE(loop.run_until([&] { return inbox.trains.size() == 2; }));
  for (const Train& train : inbox.trains) {
    (void)socket->send({.to = train.from, .from = train.local, .header = {}, .bytes = train.bytes, .ecn = 2});
  }
  REQUIRE(loop.run_until([&] { return v4_inbox.trains.size() + v6_inbox.trains.size() == 2; }));

  CHECK(v4_inbox.trains.at(0).bytes.size() == 10);
  CHECK(v6_inbox.trains.at(0).bytes.size() == 11);
  CHECK(v6_inbox.trains.at(0).local == address("[::1]:1").ip);
  CHECK(v4_inbox.trains.at(0).ecn == 2);
  CHECK(v6_inbox.trains.at(0).ecn == 2);
}

TEST_CASE("udp socket: a send leaves from the address it names", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, sender_inbox;
  const auto sender = open_at(loop, sender_inbox, "[::]:0");
  const auto socket = open_at(loop, inbox, "127.0.0.1:0");

  (void)sender->send(
      {.to = socket->local_address(), .from = address("127.0.0.9:1").ip, .header = {}, .bytes = test::pattern(5, 1)});
  REQUIRE(loop.run_until([&] { return inbox.done > 0; }));

  CHECK(inbox.trains.at(0).from.ip == address("127.0.0.9:1").ip);
}

TEST_CASE("udp socket: a train goes out and comes in whole, each datagram behind its header", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, sender_inbox;
  const bool gso = GENERATE(true, false);
  const bool gro = GENERATE(true, false);
  const std::string host = GENERATE("127.0.0.1", "[::1]");
  const std::size_t header_size = GENERATE(0U, 14U);
  const std::size_t total = GENERATE(1U, 1200U, 1201U, 12'000U, 120'001U);
  CAPTURE(gso, gro, host, header_size, total);
  const auto socket = open_at(loop, inbox, {.bind = address(host + ":0"), .gro = gro});
  const auto sender = open_at(loop, sender_inbox, {.bind = address(host + ":0"), .gso = gso});
  const ByteBuffer header(header_size, 0x0c);
  const ByteBuffer bytes = test::pattern(total, 1);

  const auto result = sender->send(
      {.to = socket->local_address(), .from = {}, .header = header, .bytes = bytes, .segment_size = 1200});
  const auto expected = split(header, bytes, 1200);
  REQUIRE(loop.run_until([&] { return inbox.datagrams().size() >= expected.size(); }));

  CHECK(result.status == uv::SendStatus::kSent);
  CHECK(result.sent_bytes == total);
  CHECK(inbox.datagrams() == expected);
  CHECK(sender->stats().datagrams_sent == expected.size());
  CHECK(sender->stats().bytes_sent == total + header_size * expected.size());
  CHECK(socket->stats().datagrams_received == expected.size());
  if (sender->gso_active()) {
    // One datagram is not worth a segment size; ten are one call.
    CHECK((sender->stats().trains_sent > 0) == (expected.size() >= 2));
    if (gro && expected.size() == 10) CHECK(inbox.trains.size() == 1);
  } else {
    CHECK(sender->stats().trains_sent == 0);
  }
}

TEST_CASE("udp socket: nobody listening at the other end does not disturb it", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, other_inbox;
  const auto socket = open_at(loop, inbox, "[::]:0");
  auto other = open_at(loop, other_inbox, "127.0.0.1:0");
  const SocketAddress gone = other->local_address();
  other.reset();
  const auto peer = open_at(loop, other_inbox, "127.0.0.1:0");

  for (int i = 0; i < 10; ++i) {
    CHECK(socket->send({.to = gone, .from = {}, .header = {}, .bytes = test::pattern(20, 1)}).status == uv::SendStatus::kSent);
    loop.run_turns(1);
  }
  const SocketAddress back{address("127.0.0.1:1").ip, socket->local_address().port};
  (void)peer->send({.to = back, .from = {}, .header = {}, .bytes = test::pattern(30, 1)});

  CHECK(loop.run_until([&] { return inbox.trains.size() == 1; }));
}

TEST_CASE("udp socket: a pending error is swallowed and receiving goes on", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, other_inbox;
  const auto socket = open_at(loop, inbox, "127.0.0.1:0");
  auto other = open_at(loop, other_inbox, "127.0.0.1:0");
  const SocketAddress gone = other->local_address();
  other.reset();
  // Unconnected UDP sockets get ICMP errors only when they ask; this is how POLLERR comes about.
  const int on = 1;
  REQUIRE(::setsockopt(socket->descriptor(), IPPROTO_IP, 11 /* IP_RECVERR */, &on, sizeof on) == 0);

  (void)socket->send({.to = gone, .from = {}, .header = {}, .bytes = test::pattern(20, 1)});
  REQUIRE(loop.run_until([&] { return socket->stats().soft_errors > 0; }));
  const auto peer = open_at(loop, other_inbox, "127.0.0.1:0");
  (void)peer->send({.to = socket->local_address(), .from = {}, .header = {}, .bytes = test::pattern(30, 1)});

  CHECK(loop.run_until([&] { return inbox.trains.size() == 1; }));
}

TEST_CASE("udp socket: what cannot be sent says so and does no harm", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, peer_inbox;
  const auto socket = open_at(loop, inbox, "127.0.0.1:0");
  const auto peer = open_at(loop, peer_inbox, "127.0.0.1:0");
  const SocketAddress to = peer->local_address();
  const ByteBuffer bytes = test::pattern(70'000, 1);

  CHECK(socket->send({.to = to, .from = {}, .header = {}, .bytes = bytes}).status == uv::SendStatus::kTooBig);
  CHECK(socket->send({.to = to, .from = address("203.0.113.77:1").ip, .header = {}, .bytes = test::pattern(9, 1)}).status ==
        uv::SendStatus::kFailed);
  CHECK(socket->send({.to = to, .from = address("[::1]:1").ip, .header = {}, .bytes = test::pattern(9, 1)}).status ==
        uv::SendStatus::kFailed);
  CHECK(socket->send({.to = to, .from = {}, .header = {}, .bytes = test::pattern(9, 1)}).status == uv::SendStatus::kSent);

  CHECK(socket->stats().too_big == 1);
  CHECK(socket->stats().send_failed == 2);
  CHECK(loop.run_until([&] { return peer_inbox.trains.size() == 1; }));
}

TEST_CASE("udp socket: a full socket is reported, and again when there is room", "[natt][uv]") {
  // Loopback never fills a sender. Packets that wait for ARP do: 10.9.9.2 is nobody until it is said to be.
  test::PrivateNetwork network;
  if (!network.entered()) FAIL("needs the right to make a network namespace");
  REQUIRE(test::run("ip link add v0 type veth peer name v1"));
  REQUIRE(test::run("ip address add 10.9.9.1/24 dev v0"));
  REQUIRE(test::run("ip link set v0 up && ip link set v1 up"));
  test::UvLoop loop;
  Inbox inbox;
  const bool gso = GENERATE(true, false);
  CAPTURE(gso);
  const auto socket = open_at(loop, inbox, {.bind = address("10.9.9.1:0"), .send_buffer = 1, .gso = gso});
  const ByteBuffer bytes = test::pattern(24'000, 1);

  uv::SendResult result;
  for (int i = 0; i < 10 && result.status == uv::SendStatus::kSent; ++i) {
    result = socket->send(
        {.to = address("10.9.9.2:9"), .from = {}, .header = {}, .bytes = bytes, .segment_size = 1200});
  }
  REQUIRE(result.status == uv::SendStatus::kBlocked);
  CHECK(result.sent_bytes % 1200 == 0);
  CHECK(result.sent_bytes < bytes.size());
  CHECK(socket->stats().blocked == 1);
  loop.run_turns();
  CHECK(inbox.writable == 0);

  REQUIRE(test::run("ip neigh replace 10.9.9.2 lladdr 02:00:00:00:00:02 dev v0"));
  CHECK(loop.run_until([&] { return inbox.writable == 1; }));
  loop.run_turns(10);
  CHECK(inbox.writable == 1);
}

TEST_CASE("udp socket: a route that refuses segmentation gets plain datagrams", "[natt][uv]") {
  test::PrivateNetwork network;
  if (!network.entered()) FAIL("needs the right to make a network namespace");
  // A datagram above the link's MTU is refused as a segment and as a packet: lost, and no verdict on the route.
  REQUIRE(test::run("ip link set lo up mtu 1280"));
  test::UvLoop loop;
  Inbox inbox, peer_inbox;
  const auto socket = open_at(loop, inbox, "127.0.0.1:0");
  const auto peer = open_at(loop, peer_inbox, "127.0.0.1:0");

  const auto large = socket->send(
      {.to = peer->local_address(), .from = {}, .header = {}, .bytes = test::pattern(4001, 1), .segment_size = 1300});
  CHECK(large.status == uv::SendStatus::kTooBig);
  CHECK(large.sent_bytes == 4001);
  CHECK(socket->stats().too_big == 3);
  CHECK(socket->stats().gso_fallbacks == 0);
  // The short last datagram fits.
  CHECK(loop.run_until([&] { return peer_inbox.datagrams().size() == 1; }));

  const auto fitting = socket->send(
      {.to = peer->local_address(), .from = {}, .header = {}, .bytes = test::pattern(4800, 1), .segment_size = 1200});
  CHECK(fitting.status == uv::SendStatus::kSent);
  CHECK(socket->stats().trains_sent == (socket->gso_active() ? 1 : 0));
  CHECK(loop.run_until([&] { return peer_inbox.datagrams().size() == 5; }));
}

TEST_CASE("udp socket: a flood does not starve timers", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, sender_inbox;
  uv::UdpSocket::Options options{.bind = address("127.0.0.1:0")};
  options.receive_batch = 2;
  options.receive_calls_per_turn = 2;
  const auto socket = open_at(loop, inbox, options);
  const auto sender = open_at(loop, sender_inbox, {.bind = address("127.0.0.1:0"), .gso = false});
  for (int i = 0; i < 40; ++i) {
    // Different sizes: GRO must not make one train of them.
    (void)sender->send({.to = socket->local_address(),
                        .from = {},
                        .header = {},
                        .bytes = test::pattern(100 + static_cast<std::size_t>(i) * 3, 1)});
  }

  std::size_t per_turn = 0;
  std::size_t before = 0;
  inbox.on_done = [&] {
    per_turn = std::max(per_turn, inbox.trains.size() - before);
    before = inbox.trains.size();
  };
  REQUIRE(loop.run_until([&] { return inbox.trains.size() == 40; }));

  CHECK(per_turn <= 4);
}

TEST_CASE("udp socket: buffers are sized and the result is told", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox;
  const auto socket = open_at(loop, inbox, {.bind = address("127.0.0.1:0"), .receive_buffer = 65536});

  CHECK(socket->stats().receive_buffer == 65536);
  CHECK(socket->stats().send_buffer >= 65536);
}

TEST_CASE("udp socket: datagrams lost to a full buffer are counted", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, sender_inbox;
  const auto socket = open_at(loop, inbox, {.bind = address("127.0.0.1:0"), .receive_buffer = 4096});
  const auto sender = open_at(loop, sender_inbox, {.bind = address("127.0.0.1:0"), .gso = false});
  const auto flood = [&] {
    for (int i = 0; i < 100; ++i) {
      (void)sender->send({.to = socket->local_address(), .from = {}, .header = {}, .bytes = test::pattern(1000, 1)});
    }
  };

  flood();
  REQUIRE(loop.run_until([&] { return inbox.done > 0; }));
  loop.run_turns(5);
  flood();  // the counter travels with the next datagrams that fit
  REQUIRE(loop.run_until([&] { return socket->stats().overflowed > 0; }));

  CHECK(socket->stats().overflowed + socket->stats().datagrams_received <= 200);
}

TEST_CASE("udp socket: a taken port is an error with a sentence, a shared one is not", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox;
  const auto socket = open_at(loop, inbox, "127.0.0.1:0");

  const auto refused = uv::UdpSocket::open(loop.get(), {.bind = socket->local_address()}, inbox);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find(socket->local_address().to_string()) != std::string::npos);

  const auto first = open_at(loop, inbox, {.bind = address("127.0.0.1:0"), .reuse_port = true});
  CHECK(uv::UdpSocket::open(loop.get(), {.bind = first->local_address(), .reuse_port = true}, inbox));
}

TEST_CASE("udp socket: destroying it is boring at any moment", "[natt][uv]") {
  test::UvLoop loop;
  Inbox inbox, sender_inbox;
  auto socket = open_at(loop, inbox, "127.0.0.1:0");
  const SocketAddress to = socket->local_address();
  const auto sender = open_at(loop, sender_inbox, "127.0.0.1:0");
  const auto send = [&] {
    for (std::size_t i = 0; i < 3; ++i) {
      (void)sender->send({.to = to, .from = {}, .header = {}, .bytes = test::pattern(10 + i, 1)});
    }
  };

  SECTION("with datagrams waiting") {
    send();
    socket.reset();
    loop.run_turns();
    CHECK(inbox.trains.empty());
  }
  SECTION("from its train callback, with more trains in the batch") {
    inbox.on_each = [&] { socket.reset(); };
    send();
    CHECK(loop.run_until([&] { return socket == nullptr; }));
    CHECK(inbox.trains.size() == 1);
    CHECK(inbox.done == 0);
  }
  SECTION("from its done callback") {
    inbox.on_done = [&] { socket.reset(); };
    send();
    CHECK(loop.run_until([&] { return socket == nullptr; }));
    CHECK(inbox.done == 1);
  }
  // The port is free at once.
  socket.reset();
  CHECK(uv::UdpSocket::open(loop.get(), {.bind = to}, inbox));
}
