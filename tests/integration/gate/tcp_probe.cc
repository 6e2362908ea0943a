// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/gate/tcp_probe.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>

namespace natt::test {
namespace {

constexpr std::size_t kHeader = 20;
constexpr std::uint32_t kLoopback = 0x7f000001;

std::uint32_t sum_words(ByteView bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += std::uint32_t{bytes[i]} << (i % 2 == 0 ? 8 : 0);
  return sum;
}

// RFC 9293 section 3.1, with the pseudo header of IPv4 loopback.
std::uint16_t checksum(ByteView segment) {
  std::uint32_t sum = sum_words(segment) + 2 * ((kLoopback >> 16) + (kLoopback & 0xffff)) + IPPROTO_TCP +
                      static_cast<std::uint32_t>(segment.size());
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffff);
}

ByteBuffer serialize(const Segment& segment, std::uint16_t to) {
  ByteBuffer out;
  ByteWriter writer(out);
  writer.write(segment.from);
  writer.write(to);
  writer.write(segment.sequence);
  writer.write(std::uint32_t{(segment.flags & kAck) != 0 ? 7777u : 0u});
  writer.write(static_cast<std::uint8_t>((kHeader + segment.options.size()) / 4 << 4));
  writer.write(segment.flags);
  writer.write(std::uint16_t{1024});
  writer.write(std::uint32_t{0});  // checksum, urgent pointer
  writer.write_bytes(segment.options);
  writer.write_bytes(segment.data);
  return out;
}

}  // namespace

TcpProbe::TcpProbe(Family family, std::uint16_t port, ByteView ip_options)
    : family_(family),
      port_(port),
      raw_(::socket(family == Family::kV4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP)) {
  REQUIRE(raw_ >= 0);
  const int checksum_at = 16;
  if (family == Family::kV6) {
    REQUIRE(::setsockopt(raw_, IPPROTO_IPV6, IPV6_CHECKSUM, &checksum_at, sizeof checksum_at) == 0);
  }
  if (!ip_options.empty()) {
    REQUIRE(::setsockopt(raw_, IPPROTO_IP, IP_OPTIONS, ip_options.data(),
                         static_cast<socklen_t>(ip_options.size())) == 0);
  }
}

TcpProbe::~TcpProbe() { ::close(raw_); }

void TcpProbe::send(const Segment& segment) const {
  ByteBuffer bytes = serialize(segment, port_);
  sockaddr_storage to{};
  socklen_t length = sizeof(sockaddr_in6);
  if (family_ == Family::kV4) {
    store_be(bytes.data() + 16, static_cast<std::uint16_t>(checksum(bytes) ^ (segment.bad_checksum ? 0x5555 : 0)));
    auto* v4 = reinterpret_cast<sockaddr_in*>(&to);
    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(kLoopback);
    length = sizeof *v4;
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&to);
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = in6addr_loopback;
  }
  REQUIRE(::sendto(raw_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to), length) ==
          static_cast<ssize_t>(bytes.size()));
}

std::uint8_t TcpProbe::reply(int patience_ms) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  do {
    std::array<std::uint8_t, 2048> packet{};
    const ssize_t size = ::recv(raw_, packet.data(), packet.size(), 0);
    if (size <= 0) {
      pollfd readable{.fd = raw_, .events = POLLIN, .revents = 0};
      ::poll(&readable, 1, 5);
      continue;
    }
    // IPv4 comes with its header, IPv6 without.
    const std::size_t at = family_ == Family::kV4 ? std::size_t{packet[0]} % 16 * 4 : 0;
    if (load_be<std::uint16_t>(packet.data() + at) == port_) return packet[at + 13];
  } while (std::chrono::steady_clock::now() < end);
  return 0;
}

}  // namespace natt::test
