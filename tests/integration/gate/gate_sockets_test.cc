// SPDX-License-Identifier: Apache-2.0
// Sockets that have no room for a program, or for two while one replaces the other: kernels
// before 6.8 allow 20,480 octets of both (net.core.optmem_max).
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <vector>

#include <natt/spa/udp_carrier.h>

#include "tests/integration/gate/gate_fixture.h"
#include "tests/integration/gate/gate_lines.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr int kPlenty = 131'072;

// A network with a limit of its own, as Linux has from 6.8 on.
class SmallNetwork {
 public:
  SmallNetwork() {
    if (!set(kPlenty)) SKIP("this kernel has one net.core.optmem_max for all networks");
  }
  [[nodiscard]] bool set(int octets) const {
    std::ofstream file("/proc/sys/net/core/optmem_max");
    file << octets << std::flush;
    return file.good();
  }

 private:
  Loopback network_;
};

class Socket {
 public:
  explicit Socket(int type = SOCK_DGRAM) : fd_(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {}
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  // Takes it off.
  [[nodiscard]] bool has_filter() const {
    const int unused = 0;
    return ::setsockopt(fd_, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == 0;
  }

 private:
  int fd_;
};

bool fits(KernelGate& gate, GateSocket kind) {
  const Socket socket(kind == GateSocket::kTcpSyn || kind == GateSocket::kTcpIp ? SOCK_STREAM : SOCK_DGRAM);
  return gate.attach(socket.get(), kind).has_value();
}

// Leaves the network with room for one such program and a little more.
void leave_room_for_one(const SmallNetwork& network, KernelGate& gate, GateSocket kind) {
  int least = 4096;
  for (int step = 65'536; step >= 256; step /= 2) {
    REQUIRE(network.set(least + step));
    if (!fits(gate, kind)) least += step;
  }
  REQUIRE(network.set(least + 1024));
  REQUIRE(fits(gate, kind));
}

void make_it_grow(KernelGate& gate, Random& random) {
  std::array<std::uint8_t, 16> octets{};
  random.fill(octets);
  HintListener& other = **gate.add_verifier(MaskKey(octets));
  for (int i = 0; i < 10'000; ++i) {
    std::array<std::uint8_t, 8> hint{};
    random.fill(hint);
    other.on_hint_added(Slot{1}, hint, octets);
  }
  gate.flush();
}

}  // namespace

TEST_CASE("kernel gate: a socket that has no room for a program goes without, and it says why once", "[gate]") {
  Lines lines;
  const auto gate = make_gate({.log = lines.sink()});
  if (!gate) return;
  const SmallNetwork network;
  REQUIRE(network.set(20'480));
  for (int i = 0; i < 2; ++i) {
    const Socket tunnel;
    const auto refused = gate->attach(tunnel.get(), GateSocket::kTunnelUdp);
    REQUIRE_FALSE(refused);
    CHECK_THAT(refused.error().message, ContainsSubstring("net.core.optmem_max"));
    CHECK_FALSE(tunnel.has_filter());
  }
  CHECK(lines.count("natt.spa.kernel_gate state=off socket=tunnel_udp reason=\"net.core.optmem_max") == 1);
  CHECK_FALSE(gate->complete());
  CHECK_THAT(gate->stats().shortfall, ContainsSubstring("tunnel_udp: net.core.optmem_max"));
  CHECK(gate->stats().complete);
  REQUIRE(network.set(kPlenty));
  CHECK(fits(*gate, GateSocket::kTunnelUdp));
  CHECK(gate->complete());
}

TEST_CASE("kernel gate: where there is room for one program, a larger table's replaces it", "[gate]") {
  Lines lines;
  const auto gate = make_gate({.max_keys = 1024, .log = lines.sink()});
  if (!gate) return;
  const SmallNetwork network;
  GatedSite site(*gate);
  leave_room_for_one(network, *gate, GateSocket::kBrokerUdp);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  CHECK(gate->attach(udp.receiver(), GateSocket::kBrokerUdp));  // the same again
  make_it_grow(*gate, site.random);
  REQUIRE(lines.count("natt.spa.kernel_gate state=grown") >= 1);
  CHECK(gate->complete());
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kKnock);
  REQUIRE(site.verifier->remove_device(site.alice));
  CHECK(udp.verdict(site.udp_knock()) == GateVerdict::kUnknownHint);  // by the table of now
}

TEST_CASE("kernel gate: a listener changes between its two programs where there is room for one", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const SmallNetwork network;
  leave_room_for_one(network, *gate, GateSocket::kTcpIp);
  const Socket listener(SOCK_STREAM);
  for (const GateSocket kind : {GateSocket::kTcpIp, GateSocket::kTcpSyn, GateSocket::kTcpIp}) {
    CHECK(gate->attach(listener.get(), kind));
  }
  CHECK(listener.has_filter());
}

TEST_CASE("kernel gate: a socket that cannot follow a larger table is let go, a listener is tried again", "[gate]") {
  Lines lines;
  const auto gate = make_gate({.max_keys = 1024, .log = lines.sink()});
  if (!gate) return;
  const SmallNetwork network;
  GatedSite site(*gate);
  GatedUdp udp(*gate, GateSocket::kBrokerUdp);
  const Socket listener(SOCK_STREAM);
  REQUIRE(gate->attach(listener.get(), GateSocket::kTcpSyn));
  REQUIRE(network.set(256));
  make_it_grow(*gate, site.random);
  CHECK_FALSE(gate->complete());
  CHECK_THAT(gate->stats().shortfall, ContainsSubstring("broker_udp: ") && ContainsSubstring("tcp_syn: "));
  CHECK(lines.count("natt.spa.kernel_gate state=off socket=broker_udp") == 1);
  CHECK(lines.count("natt.spa.kernel_gate state=off socket=tcp_syn") == 1);
  // User space sees strangers and refuses them; an old table would keep members out.
  const Frame stranger = site.random.bytes<kFrameSize>();
  const KernelGateStats before = gate->stats();
  REQUIRE(::send(udp.sender(), stranger.data(), stranger.size(), 0) == static_cast<ssize_t>(stranger.size()));
  CHECK(udp.receive(2000));
  CHECK(all_packets(gate->stats()) == all_packets(before));
  for (int i = 0; i < 3; ++i) gate->flush();
  CHECK(lines.count("natt.spa.kernel_gate state=off") == 2);
  REQUIRE(network.set(kPlenty));
  gate->flush();
  CHECK(gate->stats().shortfall.find("tcp_syn") == std::string::npos);
  CHECK(gate->attach(udp.receiver(), GateSocket::kBrokerUdp));
  CHECK(gate->complete());
  CHECK(udp.verdict(make_udp_carrier(stranger)) == GateVerdict::kUnknownHint);
  CHECK(listener.has_filter());
}

TEST_CASE("kernel gate: a detached socket stays so when the table grows", "[gate]") {
  const auto gate = make_gate({.max_keys = 1024});
  if (!gate) return;
  SeededRandom random(test_seed());
  const Socket udp;
  const Socket listener(SOCK_STREAM);
  REQUIRE(gate->attach(udp.get(), GateSocket::kBrokerUdp));
  REQUIRE(gate->attach(listener.get(), GateSocket::kTcpIp));
  for (int i = 0; i < 2; ++i) {  // also one without a filter
    CHECK(gate->detach(udp.get()));
    CHECK(gate->detach(listener.get()));
  }
  make_it_grow(*gate, random);
  CHECK_FALSE(udp.has_filter());
  CHECK_FALSE(listener.has_filter());
  CHECK_FALSE(gate->detach(-1));
  CHECK(gate->attach(listener.get(), GateSocket::kTcpIp));
  CHECK(listener.has_filter());
}
