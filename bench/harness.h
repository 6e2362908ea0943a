// SPDX-License-Identifier: Apache-2.0
#pragma once

// Timing for the benches: runs a case several times and prints one stable line,
//   name <ns/op> ns/op <ops/s> op/s spread <percent>
// where ns/op is the median run and spread the distance from best to worst run. Time
// is the CPU time of the thread: what a case costs a core, whoever else is running.

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <vector>

namespace natt::bench {

// Keeps the optimiser from dropping a computation whose result nobody reads.
template <typename T>
inline void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

[[nodiscard]] inline double cpu_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

struct Measurement {
  double ns_per_op = 0;
  double spread_percent = 0;
};

// `body` performs `operations` operations; it runs once to warm up and then `runs` times.
template <typename Body>
[[nodiscard]] Measurement measure(std::uint64_t operations, Body&& body, int runs = 5) {
  std::vector<double> samples;
  for (int run = 0; run <= runs; ++run) {
    const double begin = cpu_nanoseconds();
    body();
    if (run > 0) samples.push_back((cpu_nanoseconds() - begin) / static_cast<double>(operations));
  }
  std::sort(samples.begin(), samples.end());
  const double median = samples[samples.size() / 2];
  return {median, (samples.back() - samples.front()) / median * 100};
}

inline void print(std::string_view name, const Measurement& measured) {
  std::printf("%-36.*s %10.1f ns/op %12.0f op/s spread %.0f%%\n", static_cast<int>(name.size()), name.data(),
              measured.ns_per_op, 1e9 / measured.ns_per_op, measured.spread_percent);
  std::fflush(stdout);
}

// A line for what is counted and not timed: `name value unit`.
inline void print(std::string_view name, double value, std::string_view unit) {
  std::printf("%-36.*s %10.1f %.*s\n", static_cast<int>(name.size()), name.data(), value, static_cast<int>(unit.size()),
              unit.data());
  std::fflush(stdout);
}

template <typename Body>
void run(std::string_view name, std::uint64_t operations, Body&& body, int runs = 5) {
  print(name, measure(operations, body, runs));
}

}  // namespace natt::bench
