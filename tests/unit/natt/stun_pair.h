// SPDX-License-Identifier: Apache-2.0
#pragma once

// A StunClient and a StunServer with one key and one credential, and packets moved by
// hand between them.

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include <natt/stun_builder.h>
#include <natt/stun_client.h>
#include <natt/stun_server.h>

#include "support/seeded_random.h"

namespace natt::test {

inline const SocketAddress kServerAddress = *SocketAddress::parse("198.51.100.10:443");
inline const SocketAddress kClientAddress = *SocketAddress::parse("203.0.113.5:51000");
inline const IpAddress kClientLocal = *IpAddress::parse("192.168.1.20");
inline const Identity kAlice{"hq", Role::kClient, "alice"};
inline constexpr WallTime kWall{std::chrono::milliseconds(1'800'000'000'000)};

struct StunPair {
  explicit StunPair(StunServerOptions options = {}) : random(test_seed()), server(with_key(std::move(options))) {
    credential = make_stun_credential(key, random);
    static_cast<void>(server.add_credential(kAlice, credential));
  }

  [[nodiscard]] StunServerOptions with_key(StunServerOptions options) {
    random.fill(key.mutable_view());
    options.transaction_key = key;
    return options;
  }

  [[nodiscard]] std::unique_ptr<StunClient> make_client(StunClientOptions options = {}) {
    options.server = kServerAddress;
    if (!options.credential) options.credential = credential;
    return std::move(*StunClient::make(std::move(options), random));
  }

  // A request as the client builds it.
  [[nodiscard]] ByteBuffer request() {
    const auto client = make_client();
    client->start(now, wall());
    return client->poll_transmit()->bytes;
  }

  [[nodiscard]] std::optional<ByteBuffer> ask(ByteView bytes, const SocketAddress& from = kClientAddress,
                                              const SocketAddress& local = kServerAddress) {
    std::array<std::uint8_t, kStunMaxMessageSize> out{};
    const auto reply = server.handle_datagram(now, wall(), from, local, bytes, out);
    if (!reply) return std::nullopt;
    last_reply = *reply;
    last_reply->bytes = {};
    return ByteBuffer(reply->bytes.begin(), reply->bytes.end());
  }

  [[nodiscard]] WallTime wall() const {
    return kWall + std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
  }
  void advance(Duration duration) { now += duration; }

  SeededRandom random;
  StunTransactionKey key;
  StunServer server;
  StunCredential credential;
  std::optional<StunReply> last_reply;
  Instant now{};
};

}  // namespace natt::test
