// SPDX-License-Identifier: Apache-2.0
#pragma once

// What both parts of relay_bench use: UDP in relay_bench.cc, TCP in relay_tcp_bench.cc.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <natt/relay_server.h>

#include "harness.h"

namespace natt::relay_bench {

constexpr RelayQuota kNeverReached{.bits_per_second = std::uint64_t{1} << 60};

inline void check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "relay_bench: %s\n", what);
  std::exit(1);
}

[[nodiscard]] inline bench::Measurement summary(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const double median = samples[samples.size() / 2];
  return {median, (samples.back() - samples.front()) / median * 100};
}

// What a session costs that moves nothing: memory of the process, and no descriptor but its two sockets.
void bench_idle_tcp_session();
// Milliseconds of a core per GiB, median of runs that alternate.
void bench_tcp();

}  // namespace natt::relay_bench
