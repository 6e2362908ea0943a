// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/dns_suffix.h>

#include <natt/blake2b.h>

#include "base32hex.h"

namespace natt::spa {
namespace {

constexpr std::size_t kMaxLabel = 63;  // RFC 1035 section 2.3.4
constexpr std::size_t kSiteLabel = 8;  // 40 bits: two sites of one broker hardly share a label, and nothing breaks then
constexpr std::string_view kPrivateDomain = ".internal";

constexpr bool is_letter_or_digit(std::uint8_t octet) {
  return (octet >= 'a' && octet <= 'z') || (octet >= '0' && octet <= '9');
}

constexpr std::uint8_t to_lower(std::uint8_t octet) {
  return octet >= 'A' && octet <= 'Z' ? static_cast<std::uint8_t>(octet - 'A' + 'a') : octet;
}

bool is_label(ByteView label) {
  return !label.empty() && label.size() <= kMaxLabel && is_letter_or_digit(label.front()) &&
         is_letter_or_digit(label.back()) &&
         std::all_of(label.begin(), label.end(), [](auto octet) { return is_letter_or_digit(octet) || octet == '-'; });
}

}  // namespace

std::optional<DnsSuffix> DnsSuffix::parse(std::string_view text) {
  if (text.empty() || text.size() > kMaxText) return std::nullopt;
  DnsSuffix suffix;
  std::transform(text.begin(), text.end(), suffix.wire_.begin() + 1,
                 [](char c) { return to_lower(static_cast<std::uint8_t>(c)); });
  const MutableBytes name = MutableBytes(suffix.wire_).first(text.size() + 1);
  for (std::size_t at = 0; at < name.size();) {
    const auto label = name.subspan(at + 1);
    const auto size = static_cast<std::size_t>(std::find(label.begin(), label.end(), '.') - label.begin());
    // Whatever is not followed by another label ends the text: a final dot leaves an empty one.
    if (!is_label(label.first(size))) return std::nullopt;
    name[at] = static_cast<std::uint8_t>(size);
    at += size + 1;
  }
  suffix.size_ = static_cast<std::uint8_t>(text.size() + 2);
  return suffix;
}

DnsSuffix DnsSuffix::of_site(const SitePsk& psk) {
  const auto hash = blake2b_keyed<16>(psk.view(), as_bytes("natt-spa-1 dns suffix"));
  std::string text;
  for (std::size_t i = 0; i < kSiteLabel; ++i) text += kBase32HexDigits[hash[i] & 31];
  return *parse(text.append(kPrivateDomain));
}

std::string DnsSuffix::text() const {
  std::string text;
  for (std::size_t at = 0; wire_[at] != 0; at += std::size_t{1} + wire_[at]) {
    if (!text.empty()) text += '.';
    text += as_text(wire().subspan(at + 1, wire_[at]));
  }
  return text;
}

}  // namespace natt::spa
