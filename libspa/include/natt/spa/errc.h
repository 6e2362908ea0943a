// SPDX-License-Identifier: Apache-2.0
#pragma once

// Error codes of libspa: for configuration only. A frame that does not verify is
// not an error but a drop with a counter (natt/spa/verifier.h).

#include <system_error>

namespace natt::spa {

enum class Errc {
  kBadKey = 1,   // A public key that is a low-order point. Refuse the roster entry; the device has to renew.
  kLimit,        // More devices or keys than the verifier was built for. Raise the option or shard.
  kDuplicate,    // Two keys of one device with the same generation. Refuse the roster entry.
  kInUse,        // Another process serves as this verifier. Stop it first: two would accept each other's replays.
  kUnavailable,  // No kernel gate on this host or for this process. Carry on without.
};

[[nodiscard]] const std::error_category& spa_category();
[[nodiscard]] inline std::error_code make_error_code(Errc code) { return {static_cast<int>(code), spa_category()}; }

}  // namespace natt::spa

template <>
struct std::is_error_code_enum<natt::spa::Errc> : std::true_type {};
