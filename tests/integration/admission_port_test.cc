// SPDX-License-Identifier: Apache-2.0
// A broker's TCP port under strangers. A gateway's is the same class: tls_gateway_test.cc.
#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>

#include "integration/relay_site.h"

using namespace natt;
using namespace natt::test;

namespace {

// The process's soft limit of descriptors, for as long as it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t descriptors) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &former_) == 0);
    const rlimit few{descriptors, former_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &former_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit former_{};
};

}  // namespace

TEST_CASE("broker: strangers leave three quarters of the descriptors to members", "[integration][tcp_relay]") {
  const DescriptorLimit few(400);
  RelaySite site(in_mode(SpaMode::kTcp));
  const auto counted = [&] { return site.broker->door(uv::now()).connections; };
  const std::uint64_t before = counted().accepted;

  std::vector<std::unique_ptr<WatchedConnection>> strangers;
  for (int i = 0; i < 150; ++i) strangers.push_back(site.connect_raw({}));
  REQUIRE(site.loop.run_until([&] { return counted().accepted == before + 150; }));

  CHECK(counted().pending == 100);
  CHECK(counted().overflow == 50);
  // Members are served as ever: each of their legs takes a stranger's place.
  site.join_both();
  CHECK(site.client_leg().connection->remote_address() == site.broker_address);
  CHECK(counted().pending < 100);
}
