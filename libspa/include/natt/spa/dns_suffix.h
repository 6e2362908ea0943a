// SPDX-License-Identifier: Apache-2.0
#pragma once

// The end of the name that a DNS-shaped knock asks for (docs/WIRE.md section 1.4.1). It
// hides nothing and proves nothing; sender and verifier have to agree on it. Every
// site has its own by default, so that no name stands for the product. Value type.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <natt/bytes.h>
#include <natt/spa/keys.h>

namespace natt::spa {

class DnsSuffix {
 public:
  // Leaves a knock's name at 169 octets; RFC 1035 section 2.3.4 allows 255.
  static constexpr std::size_t kMaxText = 60;

  // No suffix: the name ends with the frame.
  constexpr DnsSuffix() = default;
  // A host name in any case, without a final dot: labels of 1 to 63 letters, digits and inner hyphens (RFC 1123
  // section 2.1), 60 octets at most. Nothing when it is not.
  [[nodiscard]] static std::optional<DnsSuffix> parse(std::string_view text);
  // What devices of a site use unless told otherwise: a label that only the PSK predicts, below the top-level domain
  // that ICANN has set aside for private use, so that no registry answers for it.
  [[nodiscard]] static DnsSuffix of_site(const SitePsk& psk);

  // Labels with their length octets, in lower case, and the root. Lives as long as the suffix.
  [[nodiscard]] ByteView wire() const { return ByteView(wire_).first(size_); }
  [[nodiscard]] std::string text() const;
  friend bool operator==(const DnsSuffix&, const DnsSuffix&) = default;

 private:
  // A length octet in front of the text, a zero octet after it.
  std::array<std::uint8_t, kMaxText + 2> wire_{};
  std::uint8_t size_ = 1;
};

}  // namespace natt::spa
