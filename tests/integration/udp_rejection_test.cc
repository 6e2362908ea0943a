// SPDX-License-Identifier: Apache-2.0
#include "src/uv/udp_rejection.h"

#include <catch2/catch_test_macros.hpp>

#include <natt/uv/udp_socket.h>

#include "integration/private_network.h"
#include "integration/uv_loop.h"

using namespace natt;
using namespace natt::test;

namespace {

struct Nothing final : uv::UdpSocket::Listener {
  void on_train(Instant, const uv::ReceivedTrain&) override {}
  void on_receive_done(Instant) override {}
  void on_writable(Instant) override {}
};

SocketAddress loopback(std::uint16_t port) { return {IpAddress::v4({127, 0, 0, 1}), port}; }

// ICMP over loopback is there when send() returns.
bool rejects(const SocketAddress& address) {
  uv::UdpRejection rejection;
  rejection.send(address, as_bytes("knock"));
  const bool heard = rejection.was_heard();
  CHECK(rejection.was_heard() == heard);  // said once, remembered
  return heard;
}

}  // namespace

TEST_CASE("udp rejection: a closed port is heard, a silent one is not", "[natt][uv][door]") {
  UvLoop loop;
  Nothing nothing;
  std::uint16_t port = 0;
  {
    auto silent = uv::UdpSocket::open(loop.get(), {.bind = loopback(0)}, nothing);
    REQUIRE(silent);
    port = (*silent)->local_address().port;
    CHECK_FALSE(rejects(loopback(port)));
  }
  CHECK(rejects(loopback(port)));
  loop.run_turns();
}

TEST_CASE("udp rejection: a firewall's prohibition is heard, its silence is not", "[natt][uv][door]") {
  PrivateNetwork network;
  REQUIRE(network.entered());
  REQUIRE(
      test::run("ip link set lo up && nft 'add table ip t; add chain ip t in { type filter hook input priority 0; }; "
                "add rule ip t in udp dport 443 reject with icmp admin-prohibited; "
                "add rule ip t in udp dport 53 drop'"));
  CHECK(rejects(loopback(443)));
  CHECK_FALSE(rejects(loopback(53)));
}

TEST_CASE("udp rejection: an address that cannot be reached at all says nothing", "[natt][uv][door]") {
  PrivateNetwork network;
  REQUIRE(network.entered());
  CHECK_FALSE(rejects(*SocketAddress::parse("192.0.2.1:443")));
  uv::UdpRejection unasked;
  CHECK_FALSE(unasked.was_heard());
}
