// SPDX-License-Identifier: Apache-2.0
// A fast sender for the laboratory's network namespaces. It sends to documentation prefixes (RFC 5737, RFC 3849)
// only, which nothing on a real network answers to, and always ends: after --count packets or --seconds.
//
//   lab_flood --to 198.51.100.10 --port 443 --random 0:1472 --count 1000000 [--rate 200000]
//   lab_flood --to 2001:db8::1 --port 443 --payloads FILE --sources 1000 --train 16 --seconds 60
//   lab_flood --interface eth0 --payloads FRAMES --count 1000000          whole Ethernet frames
//
// --stir A:B makes octets A to B-1 of every payload random, --train N sends segmentation-offload trains of N payloads
// of one size. Prints `sent N packets M octets S s R packets/s C cpu-s` and, when some were not taken, how many.
#include <arpa/inet.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <natt/address.h>

#include "support/payload_source.h"

namespace {

using natt::IpAddress;
using natt::IpPrefix;
using natt::test::CheapRandom;
using natt::test::PayloadSource;
using natt::test::Range;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBatch = 64;
constexpr std::size_t kMaxTrain = 64;        // UDP_MAX_SEGMENTS of older kernels
constexpr std::size_t kMaxTrainOctets = 65000;

struct Options {
  std::string to;
  std::uint16_t port = 0;
  std::string interface;
  std::string payloads;
  Range sizes{0, 1472};
  Range stirred;
  std::size_t sources = 1;
  std::size_t train = 1;
  std::uint64_t count = 0;
  double seconds = 0;
  double rate = 0;
  std::uint64_t seed = 1;
};

struct Totals {
  std::uint64_t packets = 0;
  std::uint64_t octets = 0;
  std::uint64_t refused = 0;  // ICMP said that nobody listens
  std::uint64_t failed = 0;
};

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "lab_flood: %s\n", why.c_str());
  std::exit(2);
}

Range parse_range(const char* text) {
  Range range;
  if (std::sscanf(text, "%zu:%zu", &range.from, &range.to) != 2 || range.from > range.to || range.to > 65507) {
    die(std::string("not a range: ") + text);
  }
  return range;
}

Options parse_options(int argc, char** argv) {
  static const option kNames[] = {
      {"to", 1, nullptr, 't'},      {"port", 1, nullptr, 'p'},  {"interface", 1, nullptr, 'i'},
      {"payloads", 1, nullptr, 'f'}, {"random", 1, nullptr, 'r'}, {"stir", 1, nullptr, 's'},
      {"sources", 1, nullptr, 'n'}, {"train", 1, nullptr, 'g'}, {"count", 1, nullptr, 'c'},
      {"seconds", 1, nullptr, 'd'}, {"rate", 1, nullptr, 'R'},  {"seed", 1, nullptr, 'S'},
      {nullptr, 0, nullptr, 0}};
  Options options;
  for (int name = 0; (name = getopt_long(argc, argv, "", kNames, nullptr)) != -1;) {
    switch (name) {
      case 't': options.to = optarg; break;
      case 'p': options.port = static_cast<std::uint16_t>(std::strtoul(optarg, nullptr, 10)); break;
      case 'i': options.interface = optarg; break;
      case 'f': options.payloads = optarg; break;
      case 'r': options.sizes = parse_range(optarg); break;
      case 's': options.stirred = parse_range(optarg); break;
      case 'n': options.sources = std::strtoul(optarg, nullptr, 10); break;
      case 'g': options.train = std::strtoul(optarg, nullptr, 10); break;
      case 'c': options.count = std::strtoull(optarg, nullptr, 10); break;
      case 'd': options.seconds = std::strtod(optarg, nullptr); break;
      case 'R': options.rate = std::strtod(optarg, nullptr); break;
      case 'S': options.seed = std::strtoull(optarg, nullptr, 10); break;
      default: die("see the comment at the top of lab_flood.cc");
    }
  }
  if (options.count == 0 && options.seconds <= 0) die("say --count or --seconds");
  if (options.train < 1 || options.train > kMaxTrain) die("--train is 1 to 64");
  if (options.sources < 1 || options.sources > 4096) die("--sources is 1 to 4096");
  return options;
}

// Whether the address is one that only a laboratory has.
bool is_of_laboratory(const IpAddress& address) {
  for (const char* block : {"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"}) {
    if (IpPrefix::parse(block)->contains(address)) return true;
  }
  return false;
}

// The destination of an Ethernet frame, or nothing when it carries no IP.
std::optional<IpAddress> destination_of(const std::vector<std::uint8_t>& frame) {
  if (frame.size() >= 34 && frame[12] == 0x08 && frame[13] == 0x00) {
    return IpAddress::v4({frame[30], frame[31], frame[32], frame[33]});
  }
  if (frame.size() < 54 || frame[12] != 0x86 || frame[13] != 0xdd) return std::nullopt;
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), frame.data() + 38, octets.size());
  return IpAddress::v6(octets);
}

PayloadSource open_source(const Options& options) {
  if (options.payloads.empty()) return PayloadSource::random(options.sizes);
  auto source = PayloadSource::from_file(options.payloads);
  if (!source) die("no payloads in " + options.payloads);
  source->set_stirred(options.stirred);
  if (options.interface.empty()) return *source;
  for (const auto& frame : source->records()) {
    const auto address = destination_of(frame);
    if (!address || !is_of_laboratory(*address)) die("a frame is not for the laboratory");
  }
  return *source;
}

int open_packet_socket(const std::string& interface) {
  // Protocol 0: it sends, and receives nothing.
  const int made = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  if (made < 0 || address.sll_ifindex == 0 ||
      bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    die("no packet socket on " + interface);
  }
  return made;
}

int open_udp_socket(const Options& options) {
  const auto ip = IpAddress::parse(options.to);
  if (!ip || !is_of_laboratory(*ip)) die("--to has to be a documentation address");
  // One family for both: IPv4 as mapped addresses.
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(options.port);
  std::memcpy(&v6.sin6_addr, ip->octets().data(), 16);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(options.port);
  const auto octets = ip->v4_octets();
  std::memcpy(&v4.sin_addr, octets.data(), 4);
  const int made = socket(ip->is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int room = 4 << 20;
  setsockopt(made, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  const int connected = ip->is_v4() ? connect(made, reinterpret_cast<const sockaddr*>(&v4), sizeof v4)
                                    : connect(made, reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  if (made < 0 || connected != 0) die("no way to " + options.to + ": " + std::strerror(errno));
  return made;
}

std::vector<int> open_sockets(const Options& options) {
  if (!options.interface.empty()) return {open_packet_socket(options.interface)};
  std::vector<int> sockets;
  while (sockets.size() < options.sources) sockets.push_back(open_udp_socket(options));
  return sockets;
}

// One sendmmsg worth of packets, or of trains of packets.
class Batch {
 public:
  explicit Batch(std::size_t train) : train_(train) {
    for (auto& buffer : buffers_) buffer.resize(train == 1 ? PayloadSource::kMaxPayload : kMaxTrainOctets);
  }

  // Fills up to `wanted` messages.
  void fill(PayloadSource& source, CheapRandom& random, std::size_t wanted) {
    size_ = wanted;
    for (std::size_t at = 0; at < wanted; ++at) fill_message(at, source, random);
  }

  void send(int descriptor, Totals& totals) {
    std::size_t done = 0;
    while (done < size_) {
      const int sent = sendmmsg(descriptor, messages_.data() + done, static_cast<unsigned>(size_ - done), 0);
      if (sent < 0) {
        if (errno == ECONNREFUSED) {
          ++totals.refused;  // an earlier packet's; this one was not sent and is tried again
          continue;
        }
        ++totals.failed;
        ++done;
        continue;
      }
      for (int count = 0; count < sent; ++count, ++done) {
        totals.packets += packets_[done];
        totals.octets += lengths_[done].iov_len;
      }
    }
  }

 private:
  void fill_message(std::size_t at, PayloadSource& source, CheapRandom& random) {
    auto& buffer = buffers_[at];
    const std::size_t segment = source.next(buffer, random);
    std::size_t size = segment;
    std::size_t packets = 1;
    while (packets < train_ && size + segment <= kMaxTrainOctets) {
      scratch_.resize(PayloadSource::kMaxPayload);
      const std::size_t next = source.next(scratch_, random);
      if (next != segment) die("a train needs payloads of one size");
      std::memcpy(buffer.data() + size, scratch_.data(), segment);
      size += segment;
      ++packets;
    }
    packets_[at] = packets;
    lengths_[at] = {buffer.data(), size};
    messages_[at].msg_hdr = {};
    messages_[at].msg_hdr.msg_iov = &lengths_[at];
    messages_[at].msg_hdr.msg_iovlen = 1;
    if (train_ > 1) add_segment_size(at, static_cast<std::uint16_t>(segment));
  }

  void add_segment_size(std::size_t at, std::uint16_t segment) {
    messages_[at].msg_hdr.msg_control = controls_[at].octets;
    messages_[at].msg_hdr.msg_controllen = sizeof controls_[at].octets;
    cmsghdr* header = CMSG_FIRSTHDR(&messages_[at].msg_hdr);
    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof segment);
    std::memcpy(CMSG_DATA(header), &segment, sizeof segment);
  }

  struct alignas(cmsghdr) Control {
    char octets[CMSG_SPACE(sizeof(std::uint16_t))];
  };

  std::size_t train_;
  std::size_t size_ = 0;
  std::array<std::vector<std::uint8_t>, kBatch> buffers_;
  std::vector<std::uint8_t> scratch_;
  std::array<std::size_t, kBatch> packets_{};
  std::array<iovec, kBatch> lengths_{};
  std::array<mmsghdr, kBatch> messages_{};
  std::array<Control, kBatch> controls_{};
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Waits until `packets` are due.
void keep_rate(Clock::time_point start, std::uint64_t packets, double rate) {
  if (rate <= 0) return;
  const auto due = start + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(static_cast<double>(packets) / rate));
  if (due > Clock::now()) std::this_thread::sleep_until(due);
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

Totals flood(const Options& options, PayloadSource source, const std::vector<int>& sockets) {
  Totals totals;
  CheapRandom random(options.seed);
  Batch batch(options.train);
  // A slow sender sends small batches: a burst is another test than a rate.
  const double per_millisecond = options.rate > 0 ? options.rate / 1000 / static_cast<double>(options.train) : kBatch;
  const auto usual = static_cast<std::size_t>(std::clamp(per_millisecond, 1.0, static_cast<double>(kBatch)));
  const auto start = Clock::now();
  std::size_t turn = 0;
  while (options.seconds <= 0 || seconds_since(start) < options.seconds) {
    std::size_t wanted = sockets.size() > 1 ? 1 : usual;
    if (options.count > 0) {
      if (totals.packets + totals.failed >= options.count) break;
      const std::uint64_t left = options.count - totals.packets - totals.failed;
      wanted = std::min<std::uint64_t>(wanted, (left + options.train - 1) / options.train);
    }
    batch.fill(source, random, wanted);
    batch.send(sockets[turn], totals);
    turn = (turn + 1) % sockets.size();
    keep_rate(start, totals.packets, options.rate);
  }
  const double took = seconds_since(start);
  std::printf("sent %llu packets %llu octets %.3f s %.0f packets/s %.3f cpu-s\n",
              static_cast<unsigned long long>(totals.packets), static_cast<unsigned long long>(totals.octets), took,
              static_cast<double>(totals.packets) / took, cpu_seconds());
  return totals;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  PayloadSource source = open_source(options);
  const auto sockets = open_sockets(options);
  const Totals totals = flood(options, std::move(source), sockets);
  if (totals.refused > 0) std::printf("refused %llu\n", static_cast<unsigned long long>(totals.refused));
  if (totals.failed > 0) std::printf("failed %llu\n", static_cast<unsigned long long>(totals.failed));
  return 0;
}
