// SPDX-License-Identifier: Apache-2.0
#pragma once

// HMAC-SHA256 (RFC 2104) for relay frames, leg keys and cookies.

#include <array>
#include <initializer_list>

#include <natt/bytes.h>
#include <natt/relay_wire.h>

namespace natt::relay {

[[nodiscard]] std::array<std::uint8_t, 32> mac(const RelayKey& key, std::initializer_list<ByteView> parts);

// A further key out of `key`, told apart by `label`.
[[nodiscard]] RelayKey derive_key(const RelayKey& key, std::initializer_list<ByteView> label);

}  // namespace natt::relay
