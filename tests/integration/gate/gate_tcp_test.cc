// SPDX-License-Identifier: Apache-2.0
// What strangers and members meet at a listener behind the kernel gate, as seen on the wire.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <thread>

#include "tests/integration/gate/tcp_probe.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

constexpr int kMoment = 30;      // milliseconds in which loopback would have answered
constexpr int kPatience = 3000;  // for what has to come

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

bool ready(const Fd& fd, short events, int patience) {
  pollfd poll{.fd = fd.get(), .events = events, .revents = 0};
  return ::poll(&poll, 1, patience) > 0;
}

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address loopback(Family family, std::uint16_t port) {
  Address address;
  if (family == Family::kV4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    *v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    address.length = sizeof *v4;
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    v6->sin6_addr = in6addr_loopback;
    address.length = sizeof *v6;
  }
  return address;
}

// Filtered before it listens: there is no moment without the gate.
class Listener {
 public:
  Listener(KernelGate& gate, GateSocket kind) : fd_(::socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const int off = 0;
    REQUIRE(::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0);
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    REQUIRE(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    REQUIRE(gate.attach(fd_.get(), kind));
    REQUIRE(::listen(fd_.get(), 64) == 0);
    socklen_t length = sizeof any;
    REQUIRE(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&any), &length) == 0);
    port_ = ntohs(any.sin6_port);
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] bool has_connection(int patience) const { return ready(fd_, POLLIN, patience); }
  [[nodiscard]] Fd accept(bool detach = true) const {
    REQUIRE(has_connection(kPatience));
    Fd accepted(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    REQUIRE(accepted.get() >= 0);
    const int none = 0;
    if (detach) REQUIRE(::setsockopt(accepted.get(), SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none) == 0);
    return accepted;
  }

 private:
  Fd fd_;
  std::uint16_t port_ = 0;
};

// As a client does: the hello in the SYN, without asking for a cookie.
Fd connect_with_hello(Family family, std::uint16_t port, ByteView hello) {
  Fd fd(::socket(family == Family::kV4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  REQUIRE(::setsockopt(fd.get(), IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof on) == 0);
  Address to = loopback(family, port);
  static_cast<void>(::sendto(fd.get(), hello.data(), hello.size(), MSG_FASTOPEN | MSG_NOSIGNAL, to.get(), to.length));
  return fd;
}

Fd connect_bare(Family family, std::uint16_t port) {
  Fd fd(::socket(family == Family::kV4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  Address to = loopback(family, port);
  static_cast<void>(::connect(fd.get(), to.get(), to.length));
  return fd;
}

ByteBuffer read_all(const Fd& fd, std::size_t wanted) {
  ByteBuffer bytes;
  while (bytes.size() < wanted && ready(fd, POLLIN, kPatience)) {
    std::array<std::uint8_t, 4096> piece{};
    const ssize_t size = ::recv(fd.get(), piece.data(), piece.size(), 0);
    if (size <= 0) break;
    bytes.insert(bytes.end(), piece.begin(), piece.begin() + size);
  }
  return bytes;
}

ByteBuffer as_buffer(std::string_view text) { return {text.begin(), text.end()}; }

}  // namespace

TEST_CASE("kernel gate: a SYN with a hello opens a connection, over IPv4 and IPv6", "[gate][tcp]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GENERATE(GateSocket::kTcpSyn, GateSocket::kTcpIp));
  for (const Family family : {Family::kV4, Family::kV6}) {
    const ByteBuffer hello = site.tcp_hello();
    const Fd client = connect_with_hello(family, listener.port(), hello);
    const Fd server = listener.accept();
    CHECK(read_all(server, hello.size()) == hello);
    const ByteBuffer answer = as_buffer("welcome");
    REQUIRE(::send(server.get(), answer.data(), answer.size(), MSG_NOSIGNAL) == 7);
    CHECK(read_all(client, answer.size()) == answer);
  }
  CHECK(gate->stats().count(GateVerdict::kSyn) == 2);
}

TEST_CASE("kernel gate: no scan gets an answer", "[gate][tcp]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GENERATE(GateSocket::kTcpSyn, GateSocket::kTcpIp));
  const Family family = GENERATE(Family::kV4, Family::kV6);
  TcpProbe probe(family, listener.port());
  // Below the ports that the kernel hands out: one of those is the listener's.
  std::uint16_t port = 20000;
  // nmap's -sS -sA -sF -sN -sX -sM -sW, and every other combination.
  for (int flags = 0; flags < 64; ++flags) {
    probe.send({.from = ++port, .flags = static_cast<std::uint8_t>(flags), .options = {}, .data = {}});
    probe.send({.from = 53, .flags = static_cast<std::uint8_t>(flags), .options = {}, .data = as_buffer("hello")});
  }
  // SYNs with options of TCP and data of every length up to a hello.
  for (std::size_t size = 0; size < 230; size += 3) {
    ByteBuffer data(size);
    site.random.fill(data);
    probe.send({.from = ++port, .options = {2, 4, 5, 0xb4}, .data = data});
    const ByteBuffer hello = site.tcp_hello();
    probe.send({.from = ++port, .options = {}, .data = {hello.begin(), hello.begin() + std::min<std::ptrdiff_t>(
                                                                                              static_cast<std::ptrdiff_t>(size), 75)}});
  }
  CHECK(probe.reply(10 * kMoment) == 0);
  const KernelGateStats stats = gate->stats();
  CHECK(stats.count(GateVerdict::kBareSyn) > 100);
  CHECK(stats.count(GateVerdict::kStray) > 100);
  CHECK(stats.count(GateVerdict::kSyn) == 0);
  CHECK_FALSE(listener.has_connection(0));
}

TEST_CASE("kernel gate: a table that is full shows the port to nobody else", "[gate][tcp]") {
  const auto gate = make_gate({.max_keys = 1024, .most_keys = 1024});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GENERATE(GateSocket::kTcpSyn, GateSocket::kTcpIp));
  HintListener& other = **gate->add_verifier(MaskKey(site.random.bytes<16>()));
  for (int i = 0; i < 10'000; ++i) other.on_hint_added(Slot{1}, site.random.bytes<8>(), site.random.bytes<16>());
  gate->flush();
  REQUIRE_FALSE(gate->complete());
  TcpProbe probe(Family::kV4, listener.port());
  for (std::uint16_t from = 23000; from < 23100; ++from) {
    ByteBuffer hello = site.tcp_hello();
    site.random.fill(std::span(hello).subspan(11, 32));
    probe.send({.from = from, .options = {}, .data = hello});
    probe.send({.from = from, .flags = kAck, .options = {}, .data = {}});
  }
  CHECK(probe.reply(kMoment) == 0);
  CHECK(gate->stats().count(GateVerdict::kUnknownHint) == 100);
  CHECK(gate->stats().count(GateVerdict::kUnchecked) == 0);
  CHECK(gate->stats().count(GateVerdict::kStray) == 100);
  probe.send({.from = 24000, .options = {}, .data = site.tcp_hello()});
  CHECK(probe.reply(kPatience) == (kSyn | kAck));
}

TEST_CASE("kernel gate: a listener knows those that are added when the table grows", "[gate][tcp]") {
  const auto gate = make_gate({.max_keys = 1024});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  HintListener& other = **gate->add_verifier(MaskKey(site.random.bytes<16>()));
  for (int i = 0; i < 10'000; ++i) other.on_hint_added(Slot{1}, site.random.bytes<8>(), site.random.bytes<16>());
  gate->flush();
  GatedSite later(*gate, 1);
  TcpProbe probe(Family::kV4, listener.port());
  ByteBuffer hello = later.tcp_hello();
  hello[20] ^= 1;
  probe.send({.from = 24000, .options = {}, .data = hello});
  CHECK(probe.reply(kMoment) == 0);
  probe.send({.from = 24001, .options = {}, .data = later.tcp_hello()});
  CHECK(probe.reply(kPatience) == (kSyn | kAck));
}

TEST_CASE("kernel gate: a SYN with any octet of its frame changed is dropped", "[gate][tcp]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  TcpProbe probe(Family::kV4, listener.port());
  const ByteBuffer hello = site.tcp_hello();
  for (std::size_t at = 0; at < 76; ++at) {
    ByteBuffer bad = hello;
    bad[at] ^= 0x10;
    probe.send({.from = static_cast<std::uint16_t>(21000 + at), .options = {}, .data = bad});
  }
  CHECK(probe.reply(kMoment) == 0);
  CHECK(gate->stats().count(GateVerdict::kSyn) == 0);
  probe.send({.from = 22000, .options = {}, .data = hello});
  CHECK(probe.reply(kPatience) == (kSyn | kAck));
}

TEST_CASE("kernel gate: a SYN with a hello is answered behind IP and TCP options", "[gate][tcp]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  const ByteBuffer no_operations(8, 1);
  TcpProbe probe(Family::kV4, listener.port(), no_operations);
  probe.send({.from = 22001, .options = {2, 4, 5, 0xb4, 1, 3, 3, 7}, .data = site.tcp_hello()});
  CHECK(probe.reply(kPatience) == (kSyn | kAck));
  probe.send({.from = 22002, .options = {2, 4, 5, 0xb4}, .data = {}});
  CHECK(probe.reply(kMoment) == 0);
}

TEST_CASE("kernel gate: a bad checksum opens nothing", "[gate][tcp]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  TcpProbe probe(Family::kV4, listener.port());
  probe.send({.from = 22003, .options = {}, .data = site.tcp_hello(), .bad_checksum = true});
  probe.send({.from = 22004, .options = {}, .data = {}, .bad_checksum = true});
  CHECK(probe.reply(kMoment) == 0);
}

TEST_CASE("kernel gate: the first (IP, port) that shows a frame owns it", "[gate][tcp]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  TcpProbe probe(Family::kV4, listener.port());
  const ByteBuffer hello = site.tcp_hello();
  probe.send({.from = 23000, .options = {}, .data = hello});
  REQUIRE(probe.reply(kPatience) == (kSyn | kAck));
  // The prober's own kernel refuses that connection with a RST. A thief with the same SYN gets nothing.
  for (std::uint16_t port = 23001; port < 23050; ++port) probe.send({.from = port, .options = {}, .data = hello});
  CHECK(probe.reply(kMoment) == 0);
  CHECK(gate->stats().count(GateVerdict::kCopy) == 49);
  // The owner again, with and without its data: a SYN is retransmitted without.
  probe.send({.from = 23000, .options = {}, .data = {}});
  CHECK(probe.reply(kPatience) == (kSyn | kAck));
}

TEST_CASE("kernel gate: what a connection needs passes until it is accepted, and then all", "[gate][tcp]") {
  const auto gate = make_gate({.flow_lifetime = 400ms});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  const ByteBuffer hello = site.tcp_hello();
  const ByteBuffer more = as_buffer("more");
  const Fd client = connect_with_hello(Family::kV4, listener.port(), hello);
  REQUIRE(listener.has_connection(kPatience));
  REQUIRE(::send(client.get(), more.data(), more.size(), MSG_NOSIGNAL) == 4);  // before accept
  const Fd server = listener.accept();
  CHECK(read_all(server, hello.size() + more.size()).size() == hello.size() + more.size());
  std::this_thread::sleep_for(500ms);
  REQUIRE(::send(client.get(), more.data(), more.size(), MSG_NOSIGNAL) == 4);
  CHECK(read_all(server, more.size()) == more);

  // The control: with the inherited filter the same stalls.
  const Fd other = connect_with_hello(Family::kV4, listener.port(), site.tcp_hello());
  const Fd filtered = listener.accept(false);
  CHECK_FALSE(read_all(filtered, hello.size()).empty());
  std::this_thread::sleep_for(500ms);
  REQUIRE(::send(other.get(), more.data(), more.size(), MSG_NOSIGNAL) == 4);
  CHECK_FALSE(ready(filtered, POLLIN, 100));
}

TEST_CASE("kernel gate: late segments of a connection that has ended get no RST", "[gate][tcp]") {
  const auto gate = make_gate({.flow_lifetime = 200ms});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  TcpProbe probe(Family::kV4, listener.port());
  probe.send({.from = 24000, .options = {}, .data = site.tcp_hello()});
  REQUIRE(probe.reply(kPatience) == (kSyn | kAck));
  std::this_thread::sleep_for(250ms);
  while (probe.reply(1) != 0) {
  }
  probe.send({.from = 24000, .flags = kAck, .options = {}, .data = {}});
  probe.send({.from = 24000, .flags = kFin | kAck, .options = {}, .data = {}});
  CHECK(probe.reply(kMoment) == 0);
}

TEST_CASE("kernel gate: a source that is allowed may send so many SYNs, for so long", "[gate][tcp]") {
  const auto gate = make_gate({.source_lifetime = 300ms, .syns_per_source = 3, .flow_lifetime = 100ms});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpIp);
  const Family family = GENERATE(Family::kV4, Family::kV6);
  const IpAddress self = *IpAddress::parse(family == Family::kV4 ? "127.0.0.1" : "::1");
  TcpProbe probe(family, listener.port());
  const auto opens = [&](std::uint16_t port) {
    probe.send({.from = port, .options = {}, .data = {}});
    return probe.reply(kMoment) == (kSyn | kAck);
  };
  CHECK_FALSE(opens(25000));
  gate->allow_source(self);
  CHECK(opens(25001));
  CHECK(opens(25002));
  CHECK(opens(25003));
  CHECK_FALSE(opens(25004));
  gate->allow_source(self);
  CHECK(opens(25005));
  gate->forget_source(self);
  CHECK_FALSE(opens(25006));
  gate->allow_source(self);
  std::this_thread::sleep_for(350ms);
  CHECK_FALSE(opens(25007));
  gate->allow_source(*IpAddress::parse("192.0.2.1"));
  CHECK_FALSE(opens(25008));
  CHECK(gate->stats().count(GateVerdict::kSource) == 4);
}

TEST_CASE("kernel gate: at tcp_visibility syn no source is allowed by its address", "[gate][tcp]") {
  const auto gate = make_gate();
  if (!gate) return;
  const Loopback network;
  const Listener listener(*gate, GateSocket::kTcpSyn);
  gate->allow_source(*IpAddress::parse("127.0.0.1"));
  const Fd client = connect_bare(Family::kV4, listener.port());
  CHECK_FALSE(listener.has_connection(kMoment));
  CHECK(gate->stats().count(GateVerdict::kBareSyn) > 0);
}

TEST_CASE("kernel gate: the SYNs of one device are counted", "[gate][tcp]") {
  const auto gate = make_gate({.syns_per_second = 4});
  if (!gate) return;
  const Loopback network;
  GatedSite site(*gate);
  const Listener listener(*gate, GateSocket::kTcpSyn);
  TcpProbe probe(Family::kV4, listener.port());
  for (std::uint16_t i = 0; i < 60; ++i) {
    probe.send({.from = static_cast<std::uint16_t>(26000 + i), .options = {}, .data = site.tcp_hello()});
  }
  const KernelGateStats stats = gate->stats();
  CHECK(stats.count(GateVerdict::kSyn) >= 4);
  CHECK(stats.count(GateVerdict::kSyn) <= 12);  // should a second or two begin in between
  CHECK(stats.count(GateVerdict::kSyn) + stats.count(GateVerdict::kSynBudget) == 60);
}
