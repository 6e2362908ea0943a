// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a broker reads of a sealed answer that passes through it. Nothing is verified: the
// gateway speaks for itself here, and the client verifies. Internal to libnatt.

#include <natt/bytes.h>

namespace natt {

// False for a refusal and for anything unreadable.
[[nodiscard]] bool is_acceptance(ByteView sealed_answer);

}  // namespace natt
