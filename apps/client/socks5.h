// SPDX-License-Identifier: Apache-2.0
#pragma once

// The server side of one SOCKS5 connection (RFC 1928 CONNECT, RFC 1929 user and
// password), without I/O. It ends where the tunnel stream begins.
//
//   on bytes from the application:  socks.handle_bytes(bytes);
//   after every call: send all of poll_output(), then look at poll_event():
//     ConnectRequest -> stop reading; open the stream; socks.reply(Reply::kSucceeded) or an error
//     Established    -> first send `early_data` into the stream, then copy both ways; this object is done
//     Failed         -> close the connection once the output is sent
//
// Resource type; one per connection, on the loop's thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/time.h>

#include "apps/config/secret_text.h"

namespace natt::client {

// RFC 1928 section 6.
enum class SocksReply : std::uint8_t {
  kSucceeded = 0,
  kGeneralFailure = 1,
  kNotAllowed = 2,          // the gateway's entitlements say no
  kNetworkUnreachable = 3,  // no tunnel to the site
  kHostUnreachable = 4,     // the name does not resolve at the gateway, or no route
  kConnectionRefused = 5,
  kTtlExpired = 6,  // the gateway's dial timed out
  kCommandNotSupported = 7,
  kAddressTypeNotSupported = 8,
};

class Socks5 {
 public:
  struct Options {
    // Both empty: no authentication is asked. At most 255 octets each (RFC 1929).
    std::string username;
    config::SecretText password;
    // To finish everything before ConnectRequest; a local application needs far less.
    Duration handshake_timeout = std::chrono::seconds(30);
  };

  struct ConnectRequest {
    std::string host;  // name or address literal as the application gave it, without brackets
    std::uint16_t port = 0;
  };
  struct Established {
    ByteBuffer early_data;  // what the application sent behind its request
  };
  struct Failed {
    std::string reason;  // for the log, debug level
  };
  using Event = std::variant<ConnectRequest, Established, Failed>;

  // What an application may send before the reply. A longer one fails the connection.
  static constexpr std::size_t kMaxEarlyData = 65536;

  Socks5(Options options, Instant now);
  Socks5(const Socks5&) = delete;
  Socks5& operator=(const Socks5&) = delete;

  void handle_bytes(ByteView bytes);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // The answer to ConnectRequest; ignored in any other state. BND.ADDR is 0.0.0.0:0: the
  // gateway does not tell from where it dials.
  void reply(SocksReply code);

  [[nodiscard]] ByteBuffer poll_output();
  [[nodiscard]] std::optional<Event> poll_event();

 private:
  enum class State : std::uint8_t { kGreeting, kAuthentication, kRequest, kConnecting, kDone };

  // Each says whether a message was taken and the next one may be there.
  bool step();
  bool handle_greeting();
  bool handle_authentication();
  bool handle_request();
  // End the connection; always false.
  bool refuse(SocksReply code, std::string reason);
  bool fail(std::string reason);
  void transition_to(State state);
  void consume(std::size_t count);

  Options options_;
  Instant deadline_;
  State state_ = State::kGreeting;
  ByteBuffer input_;
  ByteBuffer output_;
  std::optional<Event> event_;
};

}  // namespace natt::client
