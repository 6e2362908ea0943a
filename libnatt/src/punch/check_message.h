// SPDX-License-Identifier: Apache-2.0
#pragma once

// Encoding and decoding of connectivity checks (docs/WIRE.md section 5); no state.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <natt/punch_session.h>
#include <natt/stun_message.h>

namespace natt {

struct CheckRequest {
  StunTransactionId transaction;
  std::string_view username;  // receiver's ufrag ':' sender's ufrag
  ByteView password;          // the receiver's
  std::uint32_t priority = 0;
  PunchRole role = PunchRole::kControlling;  // the sender's
  std::uint64_t tie_breaker = 0;
};

[[nodiscard]] ByteBuffer build_check(const CheckRequest& check);
// The answer to `request`, which came from `source`; signed with the password the request was signed with.
[[nodiscard]] ByteBuffer build_check_response(const StunMessage& request, const SocketAddress& source,
                                              ByteView password);

struct CheckUsername {
  std::string_view receiver;
  std::string_view sender;
};
// Views into `username`; nothing unless it is two ufrags with one colon between them.
[[nodiscard]] std::optional<CheckUsername> split_username(std::string_view username);
[[nodiscard]] bool is_valid_ufrag(std::string_view ufrag);

// Role of the sender; nothing when the message says neither or both.
[[nodiscard]] std::optional<PunchRole> sender_role(const StunMessage& check);

}  // namespace natt
