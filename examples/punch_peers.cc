// SPDX-License-Identifier: Apache-2.0
// Two peers punch: each has a UDP socket of its own and a PunchAgent, and learns of the
// other what signaling would tell it. The loop is the host application's own poll().
// Both run on this host, so the policy is told that loopback may be probed.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include <natt/punch_agent.h>

namespace {

using namespace natt;

Instant now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

sockaddr_in to_native(const SocketAddress& address) {
  sockaddr_in native{};
  native.sin_family = AF_INET;
  native.sin_port = htons(address.port);
  native.sin_addr.s_addr = htonl(load_be<std::uint32_t>(address.ip.v4_octets().data()));
  return native;
}

SocketAddress from_native(const sockaddr_in& native) {
  std::array<std::uint8_t, 4> octets{};
  store_be(octets.data(), ntohl(native.sin_addr.s_addr));
  return {IpAddress::v4(octets), ntohs(native.sin_port)};
}

// One side of the punch.
struct Peer {
  explicit Peer(Random& random) : agent({.policy = {.allow_loopback = true}}, random) {
    socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_in any = to_native({IpAddress::v4({127, 0, 0, 1}), 0});
    ::bind(socket, reinterpret_cast<sockaddr*>(&any), sizeof any);
    socklen_t size = sizeof any;
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&any), &size);
    address = from_native(any);
  }
  ~Peer() { ::close(socket); }

  void receive() {
    std::array<std::uint8_t, 1500> bytes{};
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const auto count = ::recvfrom(socket, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (count <= 0) return;
    // Not a check? Then it belongs to whatever else runs on this socket.
    static_cast<void>(agent.handle_datagram(now(), from_native(from), address.ip,
                                            ByteView(bytes).first(static_cast<std::size_t>(count))));
  }

  // Sends what is due and looks whether a path was found.
  void flush(const char* name) {
    while (const auto transmit = agent.poll_transmit()) {
      const sockaddr_in to = to_native(transmit->to);
      ::sendto(socket, transmit->bytes.data(), transmit->bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    }
    while (const auto event = agent.poll_event()) {
      if (const auto* found = std::get_if<PathValidated>(&*event)) {
        std::printf("%s: path to %s, %lld us\n", name, found->path.remote.to_string().c_str(),
                    static_cast<long long>(found->rtt.count() / 1000));
        connected = true;
      }
    }
  }

  PunchAgent agent;
  int socket = -1;
  SocketAddress address;
  bool connected = false;
};

}  // namespace

int main() {
  SystemRandom random;
  Peer client(random), gateway(random);
  // What signaling carries: each end's credential, the gateway's transaction key, candidates.
  const PunchCredential client_credential = make_punch_credential(random);
  const PunchCredential gateway_credential = make_punch_credential(random);
  const StunTransactionKey key(random.bytes<16>());
  const PunchSessionId id{1};
  const auto add = [&](Peer& peer, PunchRole role, const PunchCredential& own, const PunchCredential& other,
                       const SocketAddress& remote) {
    return peer.agent.add_session(now(), {.id = id, .role = role, .local = own, .remote = other,
                                          .transaction_key = key, .start = now(), .vouch = {}}) &&
           peer.agent.add_remote_candidate(now(), id, {remote, CandidateType::kHost, {}}) == CandidateVerdict::kAllowed;
  };
  if (!add(client, PunchRole::kControlling, client_credential, gateway_credential, gateway.address)) return 1;
  if (!add(gateway, PunchRole::kControlled, gateway_credential, client_credential, client.address)) return 1;

  for (int turn = 0; turn < 200 && !(client.connected && gateway.connected); ++turn) {
    client.flush("client");
    gateway.flush("gateway");
    pollfd ready[2] = {{client.socket, POLLIN, 0}, {gateway.socket, POLLIN, 0}};
    ::poll(ready, 2, 10);
    client.receive();
    gateway.receive();
    client.agent.handle_timeout(now());
    gateway.agent.handle_timeout(now());
  }
  return client.connected && gateway.connected ? 0 : 1;
}
