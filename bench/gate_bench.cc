// SPDX-License-Identifier: Apache-2.0
// What the kernel gate costs a packet, as the kernel itself counts it (BPF_ENABLE_STATS), with
// 100,000 devices enrolled; and what it takes to keep 300,000 hints up to date. The programs
// are loaded with CAP_BPF alone, as a service has it: the kernel then puts fences into them.
// Needs root, to count.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include <natt/siphash.h>
#include <natt/spa/dns_carrier.h>
#include <natt/spa/kernel_gate.h>
#include <natt/spa/udp_carrier.h>

#include "harness.h"

namespace {

using namespace natt;
using namespace natt::spa;

constexpr std::uint64_t kDevices = 100'000;
constexpr std::size_t kPackets = 100'000;
constexpr int kRuns = 5;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "gate_bench: %s\n", why.c_str());
  std::exit(1);
}

void must(bool good, const char* what) {
  if (!good) give_up(what);
}

// Without CAP_PERFMON and CAP_SYS_ADMIN, which would stand for it, for as long as this lives.
class OnlyCapBpf {
 public:
  OnlyCapBpf() : before_(get()) {
    Capabilities only = before_;
    for (std::size_t i = 0; i < only.size(); ++i) only[i].effective = i == CAP_BPF / 32 ? 1u << CAP_BPF % 32 : 0;
    must(set(only), "capset");
  }
  ~OnlyCapBpf() { must(set(before_), "capset"); }
  OnlyCapBpf(const OnlyCapBpf&) = delete;
  OnlyCapBpf& operator=(const OnlyCapBpf&) = delete;

 private:
  using Capabilities = std::array<__user_cap_data_struct, 2>;
  static Capabilities get() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    Capabilities data{};
    must(::syscall(SYS_capget, &header, data.data()) == 0, "capget");
    return data;
  }
  static bool set(const Capabilities& data) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    return ::syscall(SYS_capset, &header, data.data()) == 0;
  }

  Capabilities before_;
};

// The CPU time of the process that opening takes.
std::unique_ptr<KernelGate> open_gate(const char* name, std::vector<GateSocket> sockets,
                                      std::size_t max_keys = kDevices * 150 / 128, bool grow_in_background = false) {
  const OnlyCapBpf only;
  const double before = bench::cpu_nanoseconds();
  // As many keys as programs think of with 100,000 devices, see gate_state.cc.
  auto gate = open_kernel_gate({.sockets = std::move(sockets), .max_keys = max_keys,
                                .grow_in_background = grow_in_background});
  if (!gate) give_up(gate.error().message);
  bench::print(name, (bench::cpu_nanoseconds() - before) / 1e6, "cpu-ms");
  return std::move(*gate);
}

// A device of the table, by number: what its frames need. Hints and keys are spread like real ones.
struct Device {
  SlotKeys keys;

  explicit Device(std::uint64_t number) {
    const std::array<std::uint8_t, 16> key{1};
    std::array<std::uint8_t, 8> input{};
    store_be(input.data(), number);
    const std::uint64_t hash = siphash24(key, input);
    store_be(keys.hint.data(), hash);
    store_be(keys.prefilter.data(), hash * 3);
    store_be(keys.prefilter.data() + 8, hash * 5);
  }
};

void add_devices(HintListener& listener, Slot slot, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t i = first; i < first + count; ++i) {
    const Device device(i);
    listener.on_hint_added(slot, device.keys.hint, device.keys.prefilter.view());
  }
}

// A datagram socket behind the gate on loopback; nobody reads it, its buffer is as small as it gets.
class GatedSocket {
 public:
  GatedSocket(KernelGate& gate, GateSocket kind)
      : receiver_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        sender_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
        program_(gate.program(kind)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    const int least = 0;
    ::setsockopt(receiver_, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    must(::bind(receiver_, reinterpret_cast<sockaddr*>(&address), length) == 0, "bind");
    must(::getsockname(receiver_, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
    must(::connect(sender_, reinterpret_cast<sockaddr*>(&address), length) == 0, "connect");
    must(gate.attach(receiver_, kind).has_value(), "attach");
  }
  ~GatedSocket() {
    ::close(receiver_);
    ::close(sender_);
  }
  GatedSocket(const GatedSocket&) = delete;
  GatedSocket& operator=(const GatedSocket&) = delete;

  void send(ByteView datagram) const {
    must(::send(sender_, datagram.data(), datagram.size(), 0) == static_cast<ssize_t>(datagram.size()), "send");
  }
  // Nanoseconds in the program and packets it saw, since the kernel counts.
  [[nodiscard]] std::pair<double, double> spent() const {
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    must(bpf_obj_get_info_by_fd(program_, &info, &size) == 0, "bpf_obj_get_info_by_fd");
    return {static_cast<double>(info.run_time_ns), static_cast<double>(info.run_cnt)};
  }

 private:
  int receiver_;
  int sender_;
  int program_;
};

template <typename Make>
void run(KernelGate& gate, const char* name, GateSocket kind, GateVerdict expected, Make&& make) {
  const GatedSocket socket(gate, kind);
  std::vector<double> samples;
  for (int r = 0; r <= kRuns; ++r) {
    const std::uint64_t verdicts = gate.stats().count(expected);
    const auto [time_before, count_before] = socket.spent();
    for (std::size_t i = 0; i < kPackets; ++i) socket.send(make());
    const auto [time, count] = socket.spent();
    if (gate.stats().count(expected) - verdicts < kPackets * 99 / 100) give_up(std::string(name) + ": other verdicts");
    if (r > 0) samples.push_back((time - time_before) / (count - count_before));
  }
  std::sort(samples.begin(), samples.end());
  const double median = samples[samples.size() / 2];
  bench::print(std::string("gate.") + name, {median, (samples.back() - samples.front()) / median * 100});
}

struct Traffic {
  SystemRandom random;
  MaskKey mask{random.bytes<16>()};
  std::uint64_t next = 0;

  // Of each device in turn, with P right.
  [[nodiscard]] Frame frame(Transport transport) {
    const Device device((next++ * 7919) % kDevices);
    return seal_frame(device.keys, mask, {.transport = transport}, {.timestamp = WallTime{}}, random.bytes<12>());
  }
  [[nodiscard]] ByteBuffer bytes(std::size_t size) {
    ByteBuffer made(size);
    random.fill(made);
    return made;
  }
};

void bench_packets(KernelGate& gate, Traffic& traffic) {
  run(gate, "random", GateSocket::kBrokerUdp, GateVerdict::kNoShape, [&] {
    ByteBuffer bytes = traffic.bytes(200);
    bytes[0] = 0x80;
    return bytes;
  });
  run(gate, "knock.stranger", GateSocket::kBrokerUdp, GateVerdict::kUnknownHint, [&] {
    Frame frame{};
    traffic.random.fill(frame);
    return make_udp_carrier(frame);
  });
  run(gate, "knock.wrong_p", GateSocket::kBrokerUdp, GateVerdict::kBadPrefilter, [&] {
    Frame frame = traffic.frame(Transport::kUdp);
    frame[63] ^= 1;
    return make_udp_carrier(frame);
  });
  run(gate, "knock.valid", GateSocket::kBrokerUdp, GateVerdict::kKnock,
      [&] { return make_udp_carrier(traffic.frame(Transport::kUdp)); });
  const ByteBuffer copy = make_udp_carrier(traffic.frame(Transport::kUdp));
  run(gate, "knock.copy", GateSocket::kBrokerUdp, GateVerdict::kCopy, [&] { return copy; });
  run(gate, "dns.stranger", GateSocket::kBrokerDns, GateVerdict::kUnknownHint, [&] {
    Frame frame{};
    traffic.random.fill(frame);
    return make_dns_carrier(frame, {}, traffic.random);
  });
  run(gate, "dns.valid", GateSocket::kBrokerDns, GateVerdict::kKnock,
      [&] { return make_dns_carrier(traffic.frame(Transport::kDns), {}, traffic.random); });
  run(gate, "stun.stranger", GateSocket::kBrokerUdp, GateVerdict::kBadStunTag, [&] {
    ByteBuffer bytes = traffic.bytes(20);
    constexpr std::array<std::uint8_t, 8> kHead{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
    std::copy(kHead.begin(), kHead.end(), bytes.begin());
    return bytes;
  });
  run(gate, "quic.stranger", GateSocket::kTunnelUdp, GateVerdict::kForeignId, [&] {
    ByteBuffer bytes = traffic.bytes(64);
    bytes[0] = 0x45;
    return bytes;
  });
  run(gate, "initial.stranger", GateSocket::kTunnelUdp, GateVerdict::kUnknownHint, [&] {
    ByteBuffer bytes = traffic.bytes(1200);
    constexpr std::array<std::uint8_t, 6> kHead{0xc3, 0, 0, 0, 1, 8};
    std::copy(kHead.begin(), kHead.end(), bytes.begin());
    bytes[14] = 0;
    bytes[15] = 0x40;
    bytes[16] = 0x40;
    return bytes;
  });
}

void bench_rotation(KernelGate& gate, HintListener& listener) {
  Slot slot{3};
  bench::run("gate.hints.replace", kDevices, [&] {
    listener.on_slot_retired(Slot{slot.number - 3});
    // The keys of a device are the same in each slot here, so that Traffic needs no clock: the hints are others.
    add_devices(listener, slot, slot.number * kDevices, kDevices);
    gate.flush();
    slot = slot.plus(1);
  });
}

// The roster grows to twice its devices, loaded in turns as a broker does it: what the longest one takes, and what
// another thread does beside.
void bench_growth(bool in_background) {
  constexpr std::uint64_t kDevicesPerTurn = 32;  // of RosterLoader
  const auto gate = open_gate(
      "gate.open.to_grow",
      {GateSocket::kBrokerUdp, GateSocket::kBrokerDns, GateSocket::kTcpSyn, GateSocket::kTcpIp}, kDevices,
      in_background);
  SystemRandom random;
  auto listener = gate->add_verifier(MaskKey{random.bytes<16>()});
  const GatedSocket socket(*gate, GateSocket::kBrokerUdp);
  double longest = 0;
  double elsewhere = 0;
  for (std::uint64_t first = 0; first < 2 * kDevices; first += kDevicesPerTurn) {
    const double before = bench::cpu_nanoseconds();
    for (std::uint64_t slot = 0; slot < 3; ++slot) {
      add_devices(**listener, Slot{slot}, slot * 2 * kDevices + first, kDevicesPerTurn);
    }
    gate->flush();
    const double after = bench::cpu_nanoseconds();
    longest = std::max(longest, after - before);
    if (const auto work = gate->take_work()) {
      const OnlyCapBpf only;
      work();
      elsewhere += bench::cpu_nanoseconds() - after;
    }
  }
  must(gate->complete(), "the gate did not grow");
  must(gate->stats().hints == 6 * kDevices, "hints are missing");
  bench::print(in_background ? "gate.grow.background.longest_turn" : "gate.grow.longest_turn", longest / 1e6, "cpu-ms");
  if (in_background) bench::print("gate.grow.background.elsewhere", elsewhere / 1e6, "cpu-ms");
}

}  // namespace

int main() {
  const int counting = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (counting < 0) give_up("the kernel does not count (root?)");
  open_gate("gate.open.broker",
            {GateSocket::kBrokerUdp, GateSocket::kBrokerDns, GateSocket::kTcpSyn, GateSocket::kTcpIp});
  open_gate("gate.open.gateway", {GateSocket::kTunnelUdp});
  const auto gate = open_gate("gate.open.all", {});
  Traffic traffic;
  auto listener = gate->add_verifier(traffic.mask);
  for (std::uint64_t slot = 0; slot < 3; ++slot) add_devices(**listener, Slot{slot}, slot * kDevices, kDevices);
  const std::array<Secret<16>, 1> stun{Secret<16>(traffic.random.bytes<16>())};
  gate->set_stun_keys(stun);
  const std::array<DnsSuffix, 1> suffixes{};
  gate->set_dns_suffixes(suffixes);
  const ConnectionIdKey ids(traffic.random);
  const std::array<const ConnectionIdKey*, 1> id_keys{&ids};
  gate->set_connection_id_keys(id_keys);
  gate->flush();
  bench::print("gate.hints", static_cast<double>(gate->stats().hints), "entries");
  bench_packets(*gate, traffic);
  bench_rotation(*gate, **listener);
  bench_growth(false);
  bench_growth(true);
  ::close(counting);
  return 0;
}
