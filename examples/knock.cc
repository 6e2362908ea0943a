// SPDX-License-Identifier: Apache-2.0
// libspa inside a program of your own: your sockets, your poll loop, your clocks. A
// device knocks over loopback UDP at a verifier in the same program, which prints the
// grant. libspa itself opens no socket and reads no clock.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include <natt/spa/knock_schedule.h>
#include <natt/spa/udp_carrier.h>
#include <natt/spa/verifier.h>

using namespace natt;
using namespace natt::spa;

namespace {

constexpr std::uint16_t kServicePort = 443;  // what both ends have configured; the socket below may sit elsewhere
const Identity kAlice{"hq", Role::kClient, "alice"};
const Identity kBroker{"hq", Role::kBroker, "b1"};

// The two clocks that the cores are told about.
Instant now() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }
WallTime wall_now() {
  return WallTime(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()));
}

// A UDP socket on a free loopback port.
int open_socket(sockaddr_in& address) {
  const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(descriptor, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size);
  return descriptor;
}

// What a gate does with a datagram: 22 is a knock, no answer ever.
std::optional<Grant> receive(int descriptor, Verifier& verifier) {
  std::array<std::uint8_t, 2048> buffer{};
  const ssize_t size = recv(descriptor, buffer.data(), buffer.size(), 0);
  if (size <= 0 || buffer[0] != kUdpKnockFirstOctet) return std::nullopt;
  const auto frame = parse_udp_carrier(ByteView(buffer).first(static_cast<std::size_t>(size)));
  if (!frame) return std::nullopt;
  const KnockContext context{.port = kServicePort, .source = IpAddress::v4({127, 0, 0, 1})};
  return verifier.verify(now(), wall_now(), Transport::kUdp, *frame, context);
}

}  // namespace

int main() {
  SystemRandom random;
  // Normally from the roster: public keys, the verifier's mask key, and the site's PSK.
  const KeyPair alice_keys = KeyPair::generate(random);
  KeyPair broker_keys = KeyPair::generate(random);
  const PublicKey broker_public = broker_keys.public_key();
  const SitePsk psk(random.bytes<32>());
  const MaskKey mask(random.bytes<16>());

  VerifierOptions options{.identity = kBroker, .psk = psk, .mask = mask};
  options.keys.push_back(std::move(broker_keys));
  Verifier verifier(std::move(options), random);
  const DeviceKey key{.generation = 1, .key = alice_keys.public_key()};
  if (const auto put = verifier.put_device(kAlice, {&key, 1}); !put) {
    std::fprintf(stderr, "%s\n", put.error().message.c_str());
    return 1;
  }
  verifier.handle_timeout(now(), wall_now());

  const auto pair = PairKey::derive(alice_keys, broker_public, DeviceId::of(kAlice), DeviceId::of(kBroker), psk);
  if (!pair) return 1;
  Knocker knocker({.device = kAlice, .verifier = kBroker, .port = kServicePort, .mask = mask, .key_generation = 1},
                  *pair, random);
  KnockSchedule schedule(knocker, KnockPorts::kServiceOnly);  // this gate has no DNS port
  schedule.start(now());

  sockaddr_in gate{};
  sockaddr_in own{};
  const int gate_socket = open_socket(gate);
  const int own_socket = open_socket(own);
  std::optional<Grant> grant;
  while (!grant) {
    while (const auto knock = schedule.poll_transmit(wall_now())) {
      const ByteBuffer& datagram = knock->datagram;
      sendto(own_socket, datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&gate), sizeof gate);
    }
    const auto deadline = earlier(schedule.next_deadline(), verifier.next_deadline());
    pollfd ready{gate_socket, POLLIN, 0};
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(deadline.value_or(now()) - now());
    if (poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(0, wait.count()))) == 1) {
      grant = receive(gate_socket, verifier);
    } else if (!schedule.next_deadline()) {
      break;  // all knocks are out and none arrived
    }
    schedule.handle_timeout(now());
    verifier.handle_timeout(now(), wall_now());
  }
  close(gate_socket);
  close(own_socket);
  if (!grant) return 1;
  std::printf("granted: %s, knock %u, key generation %u\n", grant->identity->uri().c_str(), unsigned{grant->knock_id},
              unsigned{grant->key_generation});
  return 0;
}
