// SPDX-License-Identifier: Apache-2.0
// What an outside project needs to link libnatt: BoringSSL with its run path, protobuf, libuv.
#include <array>
#include <cstdint>
#include <cstdio>

#include <natt/stun_message.h>

int main() {
  // RFC 8489 section 5: a Binding request without attributes.
  const std::array<std::uint8_t, 20> request{0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42, 1, 2,
                                             3,    4,    5,    6,    7,    8,    9,    10,   11, 12};
  const auto message = natt::StunMessage::parse(request);
  if (!message || message->method() != natt::kStunBinding) return 1;
  if (message->has_valid_integrity_sha256(request)) return 1;
  std::puts("libnatt parses STUN");
  return 0;
}
