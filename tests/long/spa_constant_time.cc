// SPDX-License-Identifier: Apache-2.0
// Whether the comparisons of P, of the AEAD's tag and of the address tag take the same time wherever
// the first wrong octet stands (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017).
//
//   spa_constant_time [SAMPLES]      10,000,000 by default; 200,000 take seconds
//
// Two classes of input, at random: the last octet is wrong, or the first one and all after it. Times are
// compared by Welch's t-test, over all samples and over those below several percentiles, which keep
// interrupts out; the largest |t| counts and has to stay below 4.5. A comparison that ends at the first
// difference must be found out by the same measurement, at every size: otherwise nothing was measured.
#include <natt/spa/frame.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <tests/support/seeded_random.h>

#include "bench/harness.h"
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace {

using namespace natt;
using namespace natt::spa;

constexpr double kLimit = 4.5;

std::uint64_t ticks() {
#if defined(__x86_64__)
  _mm_lfence();
  const std::uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

// Mean and variance of a stream of numbers (Welford).
class Moments {
 public:
  void add(double value) {
    ++count_;
    const double delta = value - mean_;
    mean_ += delta / count_;
    squares_ += delta * (value - mean_);
  }
  [[nodiscard]] double mean() const { return mean_; }
  [[nodiscard]] double error() const { return count_ < 2 ? 0 : squares_ / (count_ - 1) / count_; }

 private:
  double count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
};

// Welch's t of two classes, once without and several times with a bound on the times that count.
class Welch {
 public:
  explicit Welch(std::vector<double> first_times) {
    std::sort(first_times.begin(), first_times.end());
    for (const double percentile : {0.5, 0.75, 0.9, 0.97, 0.99}) {
      bounds_.push_back(first_times[static_cast<std::size_t>(percentile * static_cast<double>(first_times.size() - 1))]);
    }
    bounds_.push_back(INFINITY);
    classes_.resize(bounds_.size());
  }
  void add(std::size_t which, double time) {
    for (std::size_t i = 0; i < bounds_.size(); ++i) {
      if (time <= bounds_[i]) classes_[i][which].add(time);
    }
  }
  [[nodiscard]] double largest_t() const {
    double largest = 0;
    for (const auto& [a, b] : classes_) {
      const double error = std::sqrt(a.error() + b.error());
      if (error > 0) largest = std::max(largest, std::abs(a.mean() - b.mean()) / error);
    }
    return largest;
  }
  [[nodiscard]] double mean() const { return classes_.back()[0].mean(); }

 private:
  std::vector<double> bounds_;
  std::vector<std::array<Moments, 2>> classes_;
};

// `prepare(which)` puts an input of that class where `run` reads it: the same place and the same stores for both.
template <typename Prepare, typename Run>
double measure(const char* name, std::uint64_t samples, Random& random, Prepare prepare, Run run) {
  constexpr std::size_t kBlock = 4096;
  std::vector<std::uint8_t> classes(kBlock);
  std::vector<double> times(kBlock);
  const auto block = [&] {
    random.fill(classes);
    for (std::size_t i = 0; i < kBlock; ++i) {
      prepare(classes[i] & 1u);
      const std::uint64_t begin = ticks();
      bench::keep(run());
      times[i] = static_cast<double>(ticks() - begin);
    }
  };
  block();
  block();
  Welch welch(times);
  for (std::uint64_t done = 0; done < samples; done += kBlock) {
    block();
    for (std::size_t i = 0; i < kBlock; ++i) welch.add(classes[i] & 1u, times[i]);
  }
  std::printf("%-36s |t| %8.2f   mean %7.1f ticks   samples %llu\n", name, welch.largest_t(), welch.mean(),
              static_cast<unsigned long long>(samples));
  std::fflush(stdout);
  return welch.largest_t();
}

// Both wrong variants of a right value, chosen without a branch.
template <std::size_t N>
struct Wrong {
  explicit Wrong(std::span<const std::uint8_t, N> right) {
    for (auto& variant : variants) std::copy(right.begin(), right.end(), variant.begin());
    variants[0].back() = static_cast<std::uint8_t>(variants[0].back() ^ 0x5a);
    for (auto& octet : variants[1]) octet = static_cast<std::uint8_t>(octet ^ 0x5a);
  }
  void put(std::size_t which, std::uint8_t* at) const { std::copy_n(variants[which].begin(), N, at); }
  std::array<std::array<std::uint8_t, N>, 2> variants{};
};

// What must not be used: ends at the first difference, as memcmp may. Kept from being inlined and vectorised.
[[gnu::noinline]] bool equal_until_first_difference(const std::uint8_t* a, const std::uint8_t* b, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    bench::keep(i);
    if (a[i] != b[i]) return false;
  }
  return true;
}

struct Program {
  std::uint64_t samples;
  test::SeededRandom random{test::test_seed()};
  bool good = true;

  template <typename Prepare, typename Run>
  void must_not_leak(const char* name, Prepare prepare, Run run) {
    if (measure(name, samples, random, prepare, run) < kLimit) return;
    good = false;
    std::printf("%s leaks\n", name);
  }
  template <std::size_t N>
  void must_be_found_out(const char* name) {
    const auto right = random.bytes<N>();
    const Wrong<N> wrong{std::span(right)};
    std::array<std::uint8_t, N> got{};
    const double t = measure(
        name, samples / 10, random, [&](std::size_t which) { wrong.put(which, got.data()); },
        [&] { return equal_until_first_difference(right.data(), got.data(), N); });
    if (t >= kLimit) return;
    good = false;
    std::printf("%s was not found out: this measurement sees nothing\n", name);
  }

  void run() {
    must_be_found_out<8>("control.first_difference_8");
    must_be_found_out<16>("control.first_difference_16");

    const auto secret = random.bytes<32>();
    const SlotKeys keys = SlotKeys::derive(PairKey{Secret<32>(secret)}, Slot{27'600'000});
    const MaskKey mask(random.bytes<16>());
    const FrameContext context{Transport::kUdp, DeviceId{random.bytes<16>()}, 443, {}};
    Frame frame = seal_frame(keys, mask, context, {}, random.bytes<kNonceSize>());

    const Wrong<8> wrong_p{FrameView(frame).last<8>()};
    const Wrong<16> wrong_t{FrameView(frame).subspan<40, 16>()};
    must_not_leak(
        "spa.P", [&](std::size_t which) { wrong_p.put(which, frame.data() + 56); },
        [&] { return prefilter_matches(frame, Transport::kUdp, keys.prefilter.view()); });
    must_not_leak(
        "spa.T", [&](std::size_t which) { wrong_t.put(which, frame.data() + 40); },
        [&] { return open_frame(frame, context, keys.aead.view()).has_value(); });

    const AddressTag right = make_address_tag(keys.address, IpAddress::v4({192, 0, 2, 7}));
    const Wrong<8> wrong_tag{std::span(right)};
    AddressTag claimed{};
    must_not_leak(
        "spa.address_tag", [&](std::size_t which) { wrong_tag.put(which, claimed.data()); },
        [&] { return constant_time_equal(right, claimed); });
  }
};

}  // namespace

int main(int argc, char** argv) {
  Program program{argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000'000};
  program.run();
  std::printf("constant time: %s\n", program.good ? "ok" : "MISSED");
  return program.good ? 0 : 1;
}
