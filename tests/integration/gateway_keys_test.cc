// SPDX-License-Identifier: Apache-2.0
// A gateway whose keys are exchanged while it serves, and fails to be at each step that may
// fail: the functions below stand in for those of the TLS library (see CMakeLists.txt).
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <openssl/ssl.h>

#include "integration/loopback_site.h"

using namespace natt;
using namespace natt::test;

namespace {

int calls_until_failure = 0;  // 0: none fails

bool fails_now() { return calls_until_failure > 0 && --calls_until_failure == 0; }

}  // namespace

extern "C" {
SSL_CTX* __real_SSL_CTX_new(const SSL_METHOD* method);
int __real_ngtcp2_crypto_boringssl_configure_server_context(SSL_CTX* context);

SSL_CTX* __wrap_SSL_CTX_new(const SSL_METHOD* method) {
  return fails_now() ? nullptr : __real_SSL_CTX_new(method);
}
int __wrap_ngtcp2_crypto_boringssl_configure_server_context(SSL_CTX* context) {
  return fails_now() ? -1 : __real_ngtcp2_crypto_boringssl_configure_server_context(context);
}
}

TEST_CASE("gateway keys: an exchange that fails at any step leaves everything as it was", "[integration][site]") {
  const auto protocol = GENERATE(tunnel::TunnelProtocol::kQuic, tunnel::TunnelProtocol::kTls);
  CAPTURE(tunnel::to_string(protocol));
  LoopbackSite site({.gateway_has_older_key = true, .protocol = protocol});
  site.open_broker();
  site.open_gateway();
  REQUIRE(site.loop.run_until([&] { return site.broker->sites(uv::wall_now())[0].gateways_online == 1; }));
  REQUIRE(site.gateway->spa_stats().own_keys == 2);

  int steps = 1;
  for (;; ++steps) {
    calls_until_failure = steps;
    const auto renewed = site.renew_gateway();
    const bool reached = calls_until_failure == 0;
    calls_until_failure = 0;
    if (renewed) {
      CHECK_FALSE(reached);
      break;
    }
    CAPTURE(steps, renewed.error().message);
    CHECK(site.gateway->spa_stats().own_keys == 2);
    // The next attempts' keys are chosen anew, the older one among them.
    const std::uint64_t before = site.gateway->roster().number;
    site.push_roster();
    CHECK(site.loop.run_until([&] { return site.gateway->roster().number > before; }));
  }
  // Two contexts, and one of them for QUIC; a TLS site has a third.
  CHECK(steps == (protocol == tunnel::TunnelProtocol::kTls ? 5 : 4));
  CHECK(site.gateway->spa_stats().own_keys == 1);
  site.open_client();
  CHECK(site.connect());
}
