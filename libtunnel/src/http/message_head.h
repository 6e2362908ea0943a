// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a tunnel reads of a request's or a response's header section, and what it makes of it.
// Everything is peer-supplied; nghttp3 has checked the characters. Value types.

#include <cstdint>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include <natt/tunnel/authority.h>
#include <natt/tunnel/streams.h>

namespace natt::tunnel {

// Names, values and 32 octets a field (RFC 9114 section 4.2.2); also what our SETTINGS say.
inline constexpr std::size_t kMaxFieldSection = 16 * 1024;

struct MessageHead {
  std::string method;
  std::string protocol;
  std::string scheme;
  std::string authority;
  std::string path;
  std::string proxy_status;
  int status = 0;
  std::size_t size = 0;

  [[nodiscard]] bool too_large() const { return size > kMaxFieldSection; }
};

struct StreamTarget {
  Protocol protocol = Protocol::kTcp;
  Authority authority;
};

// The HTTP status to refuse with where the request is nothing this library carries.
[[nodiscard]] tl::expected<StreamTarget, int> read_target(const MessageHead& request);

// Proxy-Status (RFC 9209): `natt; details="..."`. Octets that a string of RFC 8941 cannot hold
// become '?', and the text is cut at kMaxReason.
inline constexpr std::size_t kMaxReason = 200;
[[nodiscard]] std::string proxy_status(std::string_view reason);
// The details of the last member, empty without any.
[[nodiscard]] std::string reason_of(std::string_view proxy_status);

}  // namespace natt::tunnel
