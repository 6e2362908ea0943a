// SPDX-License-Identifier: Apache-2.0
// What a datagram costs until its frame is in the verifier's hands, or until it is found
// to be none: the two UDP carriers, each fed knocks, near misses and noise.
#include <string>
#include <vector>

#include <natt/spa/dns_carrier.h>
#include <natt/spa/udp_carrier.h>

#include "harness.h"

using namespace natt;
using namespace natt::spa;

namespace {

constexpr std::size_t kDatagrams = 1024;  // more than branch prediction learns by heart, and still in the cache
constexpr int kRounds = 100;

using Datagrams = std::vector<ByteBuffer>;

template <typename Make>
Datagrams datagrams(Make&& make) {
  Datagrams all;
  for (std::size_t i = 0; i < kDatagrams; ++i) all.push_back(make());
  return all;
}

template <typename Parse>
void bench_parse(const std::string& name, const Datagrams& all, bool expected, Parse&& parse) {
  std::size_t found = 0;
  bench::run("spa." + name, kDatagrams * kRounds, [&] {
    for (int round = 0; round < kRounds; ++round) {
      for (const ByteBuffer& datagram : all) found += parse(datagram).has_value();
    }
  });
  if ((found != 0) != expected) std::abort();
}

}  // namespace

int main() {
  SystemRandom random;
  const DnsSuffix suffix = *DnsSuffix::parse("96gu0oq0.internal");
  const auto frame = [&random] { return random.bytes<kFrameSize>(); };
  const Datagrams noise = datagrams([&] {
    ByteBuffer octets(1 + random.uniform(400));
    random.fill(octets);
    return octets;
  });
  const auto dns = [&suffix](ByteView datagram) { return parse_dns_carrier(datagram, suffix); };
  bench_parse("dns.knock", datagrams([&] { return make_dns_carrier(frame(), suffix, random); }), true, dns);
  const DnsSuffix other = *DnsSuffix::parse("96gu0oq1.internal");
  bench_parse("dns.wrong_suffix", datagrams([&] { return make_dns_carrier(frame(), other, random); }), false, dns);
  bench_parse("dns.noise", noise, false, dns);
  bench_parse("udp.knock", datagrams([&] { return make_udp_carrier(frame()); }), true, parse_udp_carrier);
  bench_parse("udp.noise", noise, false, parse_udp_carrier);
  return 0;
}
