// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who may send which signaling message to whom. Internal to libnatt.

#include <natt/identity.h>
#include <natt/signal_message.h>

namespace natt {

[[nodiscard]] bool may_send(Role sender, Role receiver, const SignalMessage& message);

}  // namespace natt
