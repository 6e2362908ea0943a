// SPDX-License-Identifier: Apache-2.0
#include "src/stun/random_text.h"

#include <string_view>

namespace natt {

std::string random_text(Random& random, std::size_t size) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text(size, '\0');
  random.fill({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  for (char& letter : text) letter = kAlphabet[static_cast<std::uint8_t>(letter) & 63U];
  return text;
}

}  // namespace natt
