// SPDX-License-Identifier: Apache-2.0
// The TUN driver against this kernel, in a network namespace of its own.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <functional>
#include <vector>

#include <natt/tunnel/errc.h>
#include <natt/tunnel/inner_packet.h>
#include <natt/tunnel/uv/tun_device.h>

#include "integration/private_network.h"
#include "integration/uv_loop.h"

using namespace natt;
using namespace natt::test;
using tunnel::uv::TunDevice;

namespace {

struct Recorder final : TunDevice::Listener {
  std::vector<ByteBuffer> packets;
  int bursts = 0;
  std::optional<Error> error;
  std::function<void()> during_packet;
  void on_packet(ByteView packet) override {
    // The kernel's own IPv6 chatter on a new interface is not what tests ask about.
    if ((packet[0] >> 4) == 4) packets.emplace_back(packet.begin(), packet.end());
    if (during_packet) std::exchange(during_packet, nullptr)();
  }
  void on_burst_end() override { ++bursts; }
  void on_error(const Error& e) override { error = e; }
};

IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }

int udp_socket(const char* bind_to, std::uint16_t port) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, bind_to, &address.sin_addr);
  CHECK(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  return descriptor;
}

void send_to(int descriptor, const char* to, std::uint16_t port, std::string_view text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, to, &address.sin_addr);
  CHECK(sendto(descriptor, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address), sizeof(address)) ==
        static_cast<ssize_t>(text.size()));
}

// The answer to a UDP packet: addresses and ports swapped. Sums stay right: both are sums.
ByteBuffer answer_to(ByteBuffer packet) {
  std::swap_ranges(packet.begin() + 12, packet.begin() + 16, packet.begin() + 16);
  std::swap_ranges(packet.begin() + 20, packet.begin() + 22, packet.begin() + 22);
  return packet;
}

}  // namespace

TEST_CASE("tun: packets go both ways between the host and the device", "[tunnel][tun]") {
  PrivateNetwork network;
  if (!network.entered()) FAIL("needs the privilege to make a network namespace");
  UvLoop loop;
  Recorder recorder;
  auto device = TunDevice::open(&loop.get(), {.name = "natt0"}, recorder);
  REQUIRE(device);
  CHECK((*device)->name() == "natt0");
  REQUIRE((*device)->add_address(prefix("10.200.0.2/32")));
  REQUIRE((*device)->add_address(prefix("10.200.0.2/32")));  // so already: no failure
  REQUIRE((*device)->add_address(prefix("2001:db8:200::2/128")));
  REQUIRE((*device)->add_route(prefix("10.99.0.0/24")));
  REQUIRE((*device)->add_route(prefix("2001:db8:99::/64")));

  const int host = udp_socket("10.200.0.2", 4000);
  send_to(host, "10.99.0.5", 53, "question");
  REQUIRE(loop.run_until([&] { return !recorder.packets.empty(); }));
  const auto packet = tunnel::InnerPacket::parse(recorder.packets[0]);
  REQUIRE(packet);
  CHECK(packet->flow.source == IpAddress::parse("10.200.0.2"));
  CHECK(packet->flow.destination == IpAddress::parse("10.99.0.5"));
  CHECK(packet->flow.destination_port == 53);
  CHECK(recorder.bursts > 0);

  REQUIRE((*device)->send(answer_to(recorder.packets[0])));
  std::array<char, 64> buffer{};
  const ssize_t size = recv(host, buffer.data(), buffer.size(), 0);  // delivered by the write itself
  REQUIRE(size > 0);
  CHECK(std::string_view(buffer.data(), static_cast<std::size_t>(size)) == "question");

  CHECK((*device)->remove_route(prefix("10.99.0.0/24")));
  CHECK((*device)->remove_route(prefix("10.99.0.0/24")));  // gone already: no failure
  CHECK((*device)->remove_address(prefix("10.200.0.2/32")));
  close(host);
}

TEST_CASE("tun: destroying the device from inside its own listener is quiet and removes it", "[tunnel][tun]") {
  PrivateNetwork network;
  if (!network.entered()) FAIL("needs the privilege to make a network namespace");
  UvLoop loop;
  Recorder recorder;
  auto opened = TunDevice::open(&loop.get(), {.name = "natt1"}, recorder);
  REQUIRE(opened);
  std::unique_ptr<TunDevice> device = std::move(*opened);
  REQUIRE(device->add_address(prefix("10.200.0.2/24")));
  recorder.during_packet = [&device] { device.reset(); };
  const int host = udp_socket("10.200.0.2", 4000);
  for (int i = 0; i < 5; ++i) send_to(host, "10.200.0.9", 53, "x");

  REQUIRE(loop.run_until([&] { return device == nullptr; }));
  loop.run_turns();
  CHECK(recorder.bursts == 0);
  CHECK(recorder.packets.size() <= 1);
  CHECK_FALSE(run("ip link show natt1 >/dev/null 2>&1"));
  close(host);
}

TEST_CASE("tun: errors say what to do", "[tunnel][tun]") {
  PrivateNetwork network;
  if (!network.entered()) FAIL("needs the privilege to make a network namespace");
  UvLoop loop;
  Recorder recorder;
  const auto bad = TunDevice::open(&loop.get(), {.name = "a/b"}, recorder);
  REQUIRE_FALSE(bad);
  CHECK(bad.error().code == tunnel::Errc::kInvalid);
  const auto too_long = TunDevice::open(&loop.get(), {.name = "sixteencharacter"}, recorder);
  CHECK_FALSE(too_long);

  const auto first = TunDevice::open(&loop.get(), {.name = "natt2"}, recorder);
  REQUIRE(first);
  const auto second = TunDevice::open(&loop.get(), {.name = "natt2"}, recorder);
  REQUIRE_FALSE(second);
  CHECK(second.error().message == "the interface \"natt2\" is in use by another program");
  const auto wrong = (*first)->add_route(IpPrefix{*IpAddress::parse("10.0.0.0"), 64});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == tunnel::Errc::kInvalid);
}

TEST_CASE("tun: without the privilege the error names the capability", "[tunnel][tun]") {
  PrivateNetwork network;
  if (!network.entered() || getuid() != 0) FAIL("needs to be root to give up being it");
  UvLoop loop;
  Recorder recorder;
  REQUIRE(seteuid(65534) == 0);
  const auto refused = TunDevice::open(&loop.get(), {.name = "natt3"}, recorder);
  REQUIRE(seteuid(0) == 0);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == tunnel::Errc::kIo);
  CAPTURE(refused.error().message);
  CHECK((refused.error().message.find("CAP_NET_ADMIN") != std::string::npos ||
         refused.error().message.find("/dev/net/tun") != std::string::npos));
}
