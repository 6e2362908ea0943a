// SPDX-License-Identifier: Apache-2.0
// Any bytes as a STUN message: parsing never reads outside them, and what it accepts is
// rebuilt attribute by attribute into the same values.

#include <array>
#include <cstdlib>

#include <natt/stun_builder.h>
#include <natt/stun_message.h>

using namespace natt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto message = StunMessage::parse({data, size});
  if (!message) return 0;
  std::array<std::uint16_t, 4> unknown{};
  static_cast<void>(message->unknown_required(unknown));
  static_cast<void>(message->xor_mapped_address());
  static_cast<void>(message->error_code());
  static_cast<void>(message->has_valid_fingerprint());
  static_cast<void>(message->has_valid_integrity_sha256({data, 8}));
  static_cast<void>(message->has_valid_integrity_sha1({data, 8}));

  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, message->message_class(), message->method(), message->transaction_id());
  for (const StunAttributeView& attribute : *message) {
    builder.add_bytes(static_cast<StunAttribute>(attribute.type), attribute.value);
  }
  const auto rebuilt = builder.finish();
  const auto again = rebuilt ? StunMessage::parse(*rebuilt) : std::nullopt;
  if (!again || again->transaction_id() != message->transaction_id()) std::abort();
  if (again->method() != message->method() || again->message_class() != message->message_class()) std::abort();
  auto other = again->begin();
  for (const StunAttributeView& attribute : *message) {
    if (other == again->end() || other->type != attribute.type) std::abort();
    if (as_text(other->value) != as_text(attribute.value)) std::abort();
    ++other;
  }
  if (other != again->end()) std::abort();
  return 0;
}
