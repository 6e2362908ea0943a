// SPDX-License-Identifier: Apache-2.0
#include "apps/program/descriptor_limit.h"

#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>

TEST_CASE("descriptors: the soft limit is raised to the hard one", "[apps]") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low = before;
  low.rlim_cur = 64;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);

  CHECK(natt::program::raise_descriptor_limit() == before.rlim_max);

  rlimit after{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &after) == 0);
  CHECK(after.rlim_cur == before.rlim_max);
  CHECK(after.rlim_max == before.rlim_max);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
}
