// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/errc.h>

#include <string>

namespace natt::tunnel {
namespace {

const char* describe(Errc code) {
  switch (code) {
    case Errc::kProtocol: return "protocol violation";
    case Errc::kHandshake: return "handshake failed";
    case Errc::kWrongIdentity: return "wrong identity";
    case Errc::kTimeout: return "timed out";
    case Errc::kRefused: return "refused";
    case Errc::kReset: return "stream reset";
    case Errc::kClosed: return "closed";
    case Errc::kLimit: return "limit reached";
    case Errc::kInvalid: return "invalid argument";
    case Errc::kIo: return "input or output failed";
  }
  return "unknown";
}

class TunnelCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "natt.tunnel"; }
  [[nodiscard]] std::string message(int code) const override { return describe(static_cast<Errc>(code)); }
};

}  // namespace

const std::error_category& tunnel_category() {
  static const TunnelCategory category;
  return category;
}

}  // namespace natt::tunnel
