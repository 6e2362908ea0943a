// SPDX-License-Identifier: Apache-2.0
#include "src/punch/check_message.h"

#include <algorithm>
#include <array>

#include <natt/stun_builder.h>

namespace natt {
namespace {

ByteBuffer finish(const StunBuilder& builder) {
  const auto bytes = builder.finish();
  if (!bytes) return {};  // cannot happen: ufrags are bounded
  return {bytes->begin(), bytes->end()};
}

}  // namespace

ByteBuffer build_check(const CheckRequest& check) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, StunClass::kRequest, kStunBinding, check.transaction);
  builder.add_text(StunAttribute::kUsername, check.username);
  builder.add_number32(StunAttribute::kPriority, check.priority);
  builder.add_number64(
      check.role == PunchRole::kControlling ? StunAttribute::kIceControlling : StunAttribute::kIceControlled,
      check.tie_breaker);
  builder.add_integrity_sha256(check.password);
  builder.add_fingerprint();
  return finish(builder);
}

ByteBuffer build_check_response(const StunMessage& request, const SocketAddress& source, ByteView password) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, StunClass::kSuccess, kStunBinding, request.transaction_id());
  builder.add_xor_mapped_address(source);
  builder.add_integrity_sha256(password);
  builder.add_fingerprint();
  return finish(builder);
}

bool is_valid_ufrag(std::string_view ufrag) {
  const auto printable = [](char c) { return c > ' ' && c < '\x7f' && c != ':'; };
  return ufrag.size() >= kMinUfragSize && ufrag.size() <= kMaxUfragSize &&
         std::all_of(ufrag.begin(), ufrag.end(), printable);
}

std::optional<CheckUsername> split_username(std::string_view username) {
  const std::size_t colon = username.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const CheckUsername split{username.substr(0, colon), username.substr(colon + 1)};
  if (!is_valid_ufrag(split.receiver) || !is_valid_ufrag(split.sender)) return std::nullopt;
  return split;
}

std::optional<PunchRole> sender_role(const StunMessage& check) {
  const bool controlling = check.number64(StunAttribute::kIceControlling).has_value();
  const bool controlled = check.number64(StunAttribute::kIceControlled).has_value();
  if (controlling == controlled) return std::nullopt;
  return controlling ? PunchRole::kControlling : PunchRole::kControlled;
}

}  // namespace natt
