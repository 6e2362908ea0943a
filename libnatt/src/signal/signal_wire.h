// SPDX-License-Identifier: Apache-2.0
#pragma once

// Between SignalMessage and protobuf. Internal to libnatt.

#include <optional>

#include <natt/signal_message.h>

#include "signal.pb.h"

namespace natt {

void encode_signal(const SignalMessage& message, wire::Message& out);
// Nothing when a value is not as signal.proto says. `in` is of a known kind.
[[nodiscard]] std::optional<SignalMessage> decode_signal(const wire::Message& in);

}  // namespace natt
