// SPDX-License-Identifier: Apache-2.0
#include <natt/signal_message.h>

#include <array>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

#include "src/signal/address_wire.h"
#include "src/signal/signal_wire.h"

namespace natt {
namespace {

// In the order of the variant.
constexpr std::array<std::string_view, std::variant_size_v<SignalMessage>> kNames = {"hello",
                                                                                     "welcome",
                                                                                     "gateway-registration",
                                                                                     "gateway-directory",
                                                                                     "offer",
                                                                                     "forwarded-offer",
                                                                                     "answer",
                                                                                     "offer-rejection",
                                                                                     "candidate-batch",
                                                                                     "punch-start",
                                                                                     "session-end",
                                                                                     "relay-request",
                                                                                     "relay-grant",
                                                                                     "relay-refusal",
                                                                                     "relay-renewal",
                                                                                     "stun-credentials-request",
                                                                                     "stun-credentials",
                                                                                     "roster-chunk",
                                                                                     "roster-ack",
                                                                                     "key-renewal",
                                                                                     "drain-notice",
                                                                                     "ping",
                                                                                     "pong",
                                                                                     "session-report",
                                                                                     "peer-absent"};

}  // namespace

std::string_view name_of(const SignalMessage& message) { return kNames[message.index()]; }

Result<ByteBuffer> serialize_signal(const SignalMessage& message) {
  wire::Message out;
  encode_signal(message, out);
  // What the other end would refuse is not sent.
  if (!decode_signal(out) || out.ByteSizeLong() > kMaxSignalMessage) {
    return fail(Errc::kLimit, fmt::format("a {} message exceeds the bounds of its fields", name_of(message)));
  }
  return to_buffer(out.SerializeAsString());
}

Result<std::optional<SignalMessage>> parse_signal(ByteView body) {
  wire::Message in;
  if (body.size() > kMaxSignalMessage || !in.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return fail(Errc::kMalformed, "a message is no protobuf or too large");
  }
  if (in.kind_case() == wire::Message::KIND_NOT_SET) return std::optional<SignalMessage>();
  auto message = decode_signal(in);
  if (!message) {
    return fail(Errc::kMalformed,
                fmt::format("a message of kind {} has an invalid value", static_cast<int>(in.kind_case())));
  }
  return message;
}

}  // namespace natt
