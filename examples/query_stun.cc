// SPDX-License-Identifier: Apache-2.0
// Asks an ordinary STUN server for this host's mapped address, inside a poll loop that
// the program owns: libnatt's core opens no socket, reads no clock and starts no
// thread. Usage: query_stun ADDRESS:PORT
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include <natt/stun_client.h>

using namespace natt;

namespace {

// The two clocks that the core is told about.
Instant now() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }
WallTime wall_now() {
  return WallTime(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()));
}

// One dual-stack socket; natt writes IPv4 addresses in the same form, ::ffff:a.b.c.d.
sockaddr_in6 to_native(const SocketAddress& address) {
  sockaddr_in6 native{};
  native.sin6_family = AF_INET6;
  native.sin6_port = htons(address.port);
  std::memcpy(&native.sin6_addr, address.ip.octets().data(), sizeof native.sin6_addr);
  return native;
}

SocketAddress from_native(const sockaddr_in6& native) {
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), &native.sin6_addr, octets.size());
  return {IpAddress::v6(octets), ntohs(native.sin6_port)};
}

int open_socket() {
  const int descriptor = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int both_families = 0;
  setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &both_families, sizeof both_families);
  return descriptor;
}

void send_pending(int descriptor, StunClient& client) {
  while (const auto packet = client.poll_transmit()) {
    const sockaddr_in6 to = to_native(packet->to);
    sendto(descriptor, packet->bytes.data(), packet->bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to),
           sizeof to);
  }
}

void receive(int descriptor, StunClient& client) {
  std::array<std::uint8_t, 2048> buffer{};
  sockaddr_in6 from{};
  socklen_t from_size = sizeof from;
  const ssize_t size =
      recvfrom(descriptor, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_size);
  if (size <= 0) return;
  const ByteView bytes = ByteView(buffer).first(static_cast<std::size_t>(size));
  // False would mean: not STUN for this client, look at it yourself.
  static_cast<void>(client.handle_datagram(now(), from_native(from), {}, bytes));
}

// The exit status once there is an answer or a failure.
std::optional<int> report(StunClient& client) {
  const auto event = client.poll_event();
  if (!event) return std::nullopt;
  if (const auto* mapped = std::get_if<StunMapped>(&*event)) {
    std::printf("mapped %s rtt_us=%lld\n", mapped->mapped.to_string().c_str(),
                static_cast<long long>(mapped->rtt.count() / 1000));
    return 0;
  }
  if (const auto* failed = std::get_if<StunFailed>(&*event)) {
    std::fprintf(stderr, "%s\n", failed->error.message.c_str());
    return 1;
  }
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  const auto server = SocketAddress::parse(argc == 2 ? argv[1] : "");
  SystemRandom random;
  // Without a credential; three requests and two seconds are enough for a tool.
  auto client = StunClient::make(
      {.server = server.value_or(SocketAddress{}), .credential_required = false, .retransmission = {.rc = 3, .rm = 1}},
      random);
  if (!client) {
    std::fprintf(stderr, "usage: query_stun ADDRESS:PORT\n%s\n", client.error().message.c_str());
    return 2;
  }
  const int descriptor = open_socket();
  (*client)->start(now(), wall_now());
  std::optional<int> status;
  while (!status) {
    send_pending(descriptor, **client);
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>((*client)->next_deadline().value_or(now()) - now());
    pollfd watched{descriptor, POLLIN, 0};
    if (poll(&watched, 1, static_cast<int>(std::max<long long>(0, wait.count()))) > 0) receive(descriptor, **client);
    (*client)->handle_timeout(now(), wall_now());
    status = report(**client);
  }
  close(descriptor);
  return *status;
}
