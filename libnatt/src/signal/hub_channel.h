// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the hub knows about one connection. Internal to libnatt; owned by the hub's table.

#include <cstdint>
#include <optional>
#include <set>

#include <natt/certificate.h>
#include <natt/identity.h>
#include <natt/signal_hub.h>
#include <natt/token_bucket.h>

#include "src/signal/message_channel.h"
#include "src/signal/roster_transfer.h"

namespace natt {

struct HubChannel {
  //  kHandshaking -> kGreeting (TLS is up, the roster admits the peer) -> kOpen (hello received)
  enum class State : std::uint8_t { kHandshaking, kGreeting, kOpen };

  ChannelId id;
  Identity identity;  // by the SPA frame; TLS accepts no other
  SocketAddress remote;
  const SignalHubSite* site = nullptr;
  MessageChannel stream;
  TokenBucket messages;
  State state = State::kHandshaking;
  // The end of the handshake; later when to look whether anything was heard.
  Instant deadline{};
  Instant last_heard{};
  CertificateSerial serial;  // from kGreeting on
  RosterPush push;
  bool announced_writable = false;
  // Of a client: gateways it reported tunnels to. They are told when it breaks off.
  static constexpr std::size_t kMaxReported = 64;
  std::set<Identity> reported;

  [[nodiscard]] bool is_handshaking() const { return state != State::kOpen; }
  [[nodiscard]] RosterView view() const {
    return identity.role == Role::kClient ? RosterView::kClient : RosterView::kFull;
  }
};

}  // namespace natt
