// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/gate/gate_fixture.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string_view>
#include <thread>

#include <natt/spa/errc.h>

namespace natt::test {
namespace {

struct NativeAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

NativeAddress loopback_address(Family family, std::uint16_t port) {
  NativeAddress address;
  if (family == Family::kV4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
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

constexpr int kPatience = 2000;  // milliseconds; loopback needs none unless the machine is very busy

}  // namespace

bool may_load_programs() {
  // return 0
  const std::array<bpf_insn, 2> program{bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
                                        bpf_insn{.code = BPF_JMP | BPF_EXIT}};
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = reinterpret_cast<std::uintptr_t>(program.data());
  attributes.insn_cnt = program.size();
  attributes.license = reinterpret_cast<std::uintptr_t>("Apache-2.0");
  const long fd = ::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
  if (fd >= 0) ::close(static_cast<int>(fd));
  return fd >= 0;
}

std::unique_ptr<KernelGate> make_gate(const KernelGateOptions& options) {
  auto gate = open_kernel_gate(options);
  if (gate) return std::move(*gate);
  REQUIRE_FALSE(may_load_programs());
  CHECK(gate.error().code == make_error_code(Errc::kUnavailable));
  CHECK_THAT(gate.error().message, Catch::Matchers::ContainsSubstring("CAP_BPF"));
  const char* required = std::getenv("NATT_REQUIRE_GATE");
  if (required != nullptr && std::string_view(required) == "1") FAIL("no kernel gate: " << gate.error().message);
  SKIP("no kernel gate here, only its refusal was checked: " << gate.error().message);
  return nullptr;
}

ByteBuffer GatedSite::tcp_hello() {
  return alice_knocker->make_tcp_hello(wall, alice_knocker->next_knock_id(), ByteBuffer(300, 0x16));
}

ByteBuffer GatedSite::initial(ByteView dcid, ByteView scid) {
  ByteBuffer out;
  ByteWriter writer(out);
  writer.write(std::uint8_t{0xc3});
  writer.write(kQuicVersion1);
  writer.write(static_cast<std::uint8_t>(dcid.size()));
  writer.write_bytes(dcid);
  writer.write(static_cast<std::uint8_t>(scid.size()));
  writer.write_bytes(scid);
  writer.write(std::uint16_t{0x4040});
  writer.write_bytes(alice_knocker->make_quic_token(wall, alice_knocker->next_knock_id(), dcid, scid));
  writer.write(std::uint16_t{0x4000 | 1000});
  out.resize(1200, 0xee);
  return out;
}

Loopback::Loopback() {
  REQUIRE(entered());
  REQUIRE(run("ip link set lo up"));
}

GatedUdp::GatedUdp(KernelGate& gate, GateSocket kind, Family family)
    : gate_(gate), family_(family), receiver_(::socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
  const int off = 0;
  const int on = 1;
  REQUIRE(::setsockopt(receiver_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0);
  REQUIRE(::setsockopt(receiver_, IPPROTO_UDP, UDP_GRO, &on, sizeof on) == 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  REQUIRE(::bind(receiver_, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
  socklen_t length = sizeof any;
  REQUIRE(::getsockname(receiver_, reinterpret_cast<sockaddr*>(&any), &length) == 0);
  port_ = ntohs(any.sin6_port);
  REQUIRE(gate_.attach(receiver_, kind));
  use_other_port();
}

GatedUdp::~GatedUdp() {
  ::close(receiver_);
  ::close(sender_);
}

void GatedUdp::use_other_port() {
  if (sender_ >= 0) ::close(sender_);
  sender_ = ::socket(family_ == Family::kV4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  NativeAddress to = loopback_address(family_, port_);
  REQUIRE(::connect(sender_, to.get(), to.length) == 0);
}

SocketAddress GatedUdp::sender_address() const {
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  REQUIRE(::getsockname(sender_, reinterpret_cast<sockaddr*>(&bound), &length) == 0);
  if (family_ == Family::kV4) {
    return {*IpAddress::parse("127.0.0.1"), ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port)};
  }
  return {*IpAddress::parse("::1"), ntohs(reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port)};
}

GateVerdict GatedUdp::verdict(ByteView datagram) {
  const KernelGateStats before = gate_.stats();
  REQUIRE(::send(sender_, datagram.data(), datagram.size(), 0) == static_cast<ssize_t>(datagram.size()));
  const KernelGateStats after = wait_for_verdicts(gate_, before);
  REQUIRE(all_packets(after) == all_packets(before) + 1);
  std::size_t which = 0;
  while (after.packets[which] == before.packets[which]) ++which;
  const auto verdict = static_cast<GateVerdict>(which);
  const auto received = receive(passes(verdict) ? kPatience : 0);
  REQUIRE(received.has_value() == passes(verdict));
  if (received) REQUIRE(std::equal(received->begin(), received->end(), datagram.begin(), datagram.end()));
  return verdict;
}

void GatedUdp::send_train(ByteView bytes, std::uint16_t segment) {
  iovec piece{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(std::uint16_t))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_UDP;
  header->cmsg_type = UDP_SEGMENT;
  header->cmsg_len = CMSG_LEN(sizeof segment);
  std::memcpy(CMSG_DATA(header), &segment, sizeof segment);
  REQUIRE(::sendmsg(sender_, &message, 0) == static_cast<ssize_t>(bytes.size()));
}

std::optional<ByteBuffer> GatedUdp::receive(int patience) {
  pollfd readable{.fd = receiver_, .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, patience) <= 0) return std::nullopt;
  ByteBuffer bytes(65536);
  const ssize_t size = ::recv(receiver_, bytes.data(), bytes.size(), 0);
  if (size < 0) return std::nullopt;
  bytes.resize(static_cast<std::size_t>(size));
  return bytes;
}

std::uint64_t all_packets(const KernelGateStats& stats) {
  return std::accumulate(stats.packets.begin(), stats.packets.end(), std::uint64_t{0});
}

KernelGateStats wait_for_verdicts(const KernelGate& gate, const KernelGateStats& before, std::uint64_t packets) {
  for (int waited = 0; waited < kPatience; ++waited) {
    const KernelGateStats after = gate.stats();
    if (all_packets(after) >= all_packets(before) + packets) return after;
    if (waited > 100) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  FAIL("the gate saw no packet");
  return before;
}

}  // namespace natt::test
