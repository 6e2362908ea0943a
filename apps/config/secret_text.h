// SPDX-License-Identifier: Apache-2.0
#pragma once

// Text that is a secret (a PEM private key, a password) and has no fixed size. Wiped
// when destroyed, moved from or assigned over; cannot be printed by accident. Value type.

#include <string>
#include <string_view>
#include <utility>

#include <natt/secret.h>

namespace natt::config {

class SecretText {
 public:
  SecretText() = default;
  // Wipes `text` after copying it.
  explicit SecretText(std::string&& text) : text_(text) { wipe(text); }
  SecretText(const SecretText&) = default;
  SecretText& operator=(const SecretText& other) {
    if (this != &other) {
      wipe(text_);
      text_ = other.text_;
    }
    return *this;
  }
  SecretText(SecretText&& other) noexcept : text_(std::move(other.text_)) { wipe(other.text_); }
  SecretText& operator=(SecretText&& other) noexcept {
    if (this != &other) {
      wipe(text_);
      text_ = std::move(other.text_);
      wipe(other.text_);
    }
    return *this;
  }
  ~SecretText() { wipe(text_); }

  // Lives as long as this object and its value.
  [[nodiscard]] std::string_view view() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  friend bool operator==(const SecretText& a, const SecretText& b) {
    return constant_time_equal(as_bytes(a.text_), as_bytes(b.text_));
  }

 private:
  static void wipe(std::string& text) {
    // The capacity, not the size: a moved-from short string keeps its octets in place.
    text.resize(text.capacity());
    secure_zero({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
    text.clear();
  }

  std::string text_;
};

}  // namespace natt::config
