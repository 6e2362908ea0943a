// SPDX-License-Identifier: Apache-2.0
// The DNS reader: the first octet says which suffix; no crash, and what is taken says
// its frame in one spelling: the query made from it is the input but for case, id, type,
// free flags and OPT.
#include <cctype>
#include <cstdlib>

#include <natt/spa/dns_carrier.h>

using namespace natt;

namespace {

class NoRandom final : public Random {
 public:
  void fill(MutableBytes out) override { std::fill(out.begin(), out.end(), std::uint8_t{0}); }
};

bool same_but_case(std::uint8_t a, std::uint8_t b) { return std::tolower(a) == std::tolower(b); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<spa::DnsSuffix, 4> kSuffixes{spa::DnsSuffix(), *spa::DnsSuffix::parse("a"),
                                                       *spa::DnsSuffix::parse("ns1.example"),
                                                       *spa::DnsSuffix::parse(std::string(60, 'x'))};
  if (size == 0) return 0;
  const spa::DnsSuffix& suffix = kSuffixes[data[0] % kSuffixes.size()];
  const ByteView datagram(data + 1, size - 1);
  const auto frame = spa::parse_dns_carrier(datagram, suffix);
  if (!frame) return 0;
  NoRandom random;
  const ByteBuffer again = spa::make_dns_carrier(*frame, suffix, random);
  if (again.size() > datagram.size()) std::abort();
  const ByteView made = ByteView(again).first(again.size() - 15).subspan(12);
  if (!std::equal(made.begin(), made.end(), datagram.begin() + 12, same_but_case)) std::abort();
  if (spa::parse_dns_carrier(again, suffix) != frame) std::abort();
  return 0;
}
