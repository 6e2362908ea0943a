// SPDX-License-Identifier: Apache-2.0
#include <natt/errc.h>

#include <string>

namespace natt {
namespace {

const char* describe(Errc code) {
  switch (code) {
    case Errc::kMalformed: return "malformed";
    case Errc::kWrongIdentity: return "wrong identity";
    case Errc::kUntrusted: return "untrusted";
    case Errc::kExpired: return "expired";
    case Errc::kRevoked: return "revoked";
    case Errc::kTimeout: return "timed out";
    case Errc::kRefused: return "refused";
    case Errc::kClosed: return "closed";
    case Errc::kLimit: return "limit reached";
    case Errc::kUnavailable: return "unavailable";
    case Errc::kIo: return "system call failed";
    case Errc::kCrypto: return "cryptography failed";
  }
  return "unknown";
}

class NattCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "natt"; }
  [[nodiscard]] std::string message(int code) const override { return describe(static_cast<Errc>(code)); }
};

}  // namespace

const std::error_category& natt_category() {
  static const NattCategory category;
  return category;
}

}  // namespace natt
