// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the cases of a whole TLS site have in common.

#include <catch2/catch_test_macros.hpp>

#include <string>

#include "integration/loopback_site.h"

namespace natt::test {

[[nodiscard]] inline LoopbackSite::Options tls_site(bool direct = true) {
  return {.direct = direct, .protocol = tunnel::TunnelProtocol::kTls};
}

// One echo through the site: proves that the tunnel carries bytes both ways now.
inline void check_echo(LoopbackSite& site, const std::string& text) {
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes(text));
  CHECK(site.loop.run_until([&] { return application.received == text; }, 20'000));
}

}  // namespace natt::test
