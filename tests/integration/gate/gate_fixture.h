// SPDX-License-Identifier: Apache-2.0
#pragma once

// A kernel gate, a verifier that feeds it, and loopback sockets behind it.
//
// Where bpf() is refused (user namespaces, no CAP_BPF) there is nothing to test but that:
// make_gate() then checks that the refusal is real and skips the test; with NATT_REQUIRE_GATE=1 in the environment it
// fails.

#include <memory>
#include <optional>

#include <natt/spa/kernel_gate.h>

#include <tests/integration/private_network.h>
#include <tests/unit/spa/spa_site.h>

namespace natt::test {

// Whether this process may load any socket filter at all, by asking the kernel without our library.
[[nodiscard]] bool may_load_programs();
[[nodiscard]] std::unique_ptr<KernelGate> make_gate(const KernelGateOptions& options = {});

// Several sites in one test need keys that differ.
struct NumberedSite : SpaSite {
  explicit NumberedSite(std::uint64_t number) {
    random = SeededRandom(test_seed() + number);
    broker_keys = KeyPair::generate(random);
    psk = SitePsk(random.bytes<32>());
    mask = MaskKey(random.bytes<16>());
  }
};

// One client of one site, known to the gate. Needs a gate.
struct GatedSite : NumberedSite {
  explicit GatedSite(KernelGate& to, std::uint64_t number = 0)
      : NumberedSite(number), gate(to), listener(*to.add_verifier(mask)) {
    VerifierOptions made = options();
    made.hint_listener = listener;
    to.set_dns_suffixes({&dns_suffix, 1});
    verifier = std::make_unique<Verifier>(std::move(made), random);
    enroll();
    settle();
  }
  void enroll() {
    const DeviceKey key{1, alice_keys.public_key()};
    (void)verifier->put_device(alice, {&key, 1});
  }
  // As the driver does at each deadline.
  void settle() {
    verifier->handle_timeout(now, wall);
    gate.flush();
  }
  [[nodiscard]] ByteBuffer udp_knock() { return alice_knocker->make_udp_knock(wall, alice_knocker->next_knock_id()); }
  [[nodiscard]] ByteBuffer dns_knock() { return alice_knocker->make_dns_knock(wall, alice_knocker->next_knock_id()); }
  [[nodiscard]] ByteBuffer tcp_hello();
  [[nodiscard]] ByteBuffer initial(ByteView dcid, ByteView scid);
  [[nodiscard]] ByteBuffer initial() { return initial(random.bytes<8>(), random.bytes<8>()); }

  KernelGate& gate;
  HintListener* listener;
  Identity alice = device_named("alice");
  KeyPair alice_keys = KeyPair::generate(random);
  std::unique_ptr<Verifier> verifier;
  std::unique_ptr<Knocker> alice_knocker = knocker(alice, alice_keys);
};

enum class Family { kV4, kV6 };

// A private network whose loopback is up.
class Loopback : public PrivateNetwork {
 public:
  Loopback();
};

// A dual-stack UDP socket behind the gate, and one that sends to it.
class GatedUdp {
 public:
  GatedUdp(KernelGate& gate, GateSocket kind, Family family = Family::kV4);
  ~GatedUdp();
  GatedUdp(const GatedUdp&) = delete;
  GatedUdp& operator=(const GatedUdp&) = delete;

  // What the gate said to the one packet that this sends. Checks that what passes arrives as it is and that what is
  // dropped does not.
  [[nodiscard]] GateVerdict verdict(ByteView datagram);
  // The same from another port.
  void use_other_port();
  // One GSO train.
  void send_train(ByteView bytes, std::uint16_t segment);
  [[nodiscard]] std::optional<ByteBuffer> receive(int patience_ms);
  [[nodiscard]] int sender() const { return sender_; }
  // As the gate sees it.
  [[nodiscard]] SocketAddress sender_address() const;
  [[nodiscard]] int receiver() const { return receiver_; }

 private:
  KernelGate& gate_;
  Family family_;
  int receiver_;
  int sender_ = -1;
  std::uint16_t port_ = 0;
};

// The verdicts since `before`, at least one; waits for it.
[[nodiscard]] KernelGateStats wait_for_verdicts(const KernelGate& gate, const KernelGateStats& before,
                                                std::uint64_t packets = 1);
[[nodiscard]] std::uint64_t all_packets(const KernelGateStats& stats);

}  // namespace natt::test
