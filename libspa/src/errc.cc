// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/errc.h>

#include <string>

namespace natt::spa {
namespace {

const char* describe(Errc code) {
  switch (code) {
    case Errc::kBadKey: return "bad public key";
    case Errc::kLimit: return "limit reached";
    case Errc::kDuplicate: return "duplicate key generation";
    case Errc::kInUse: return "verifier in use";
    case Errc::kUnavailable: return "not available here";
  }
  return "unknown";
}

class SpaCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "spa"; }
  [[nodiscard]] std::string message(int code) const override { return describe(static_cast<Errc>(code)); }
};

}  // namespace

const std::error_category& spa_category() {
  static const SpaCategory category;
  return category;
}

}  // namespace natt::spa
