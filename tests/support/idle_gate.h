// SPDX-License-Identifier: Apache-2.0
#pragma once

// A kernel gate that does nothing: what a test wants to know of it, the test overrides.

#include <natt/spa/kernel_gate.h>

namespace natt::test {

class IdleGate : public spa::KernelGate {
 public:
  Result<spa::HintListener*> add_verifier(const spa::MaskKey&) override { return nullptr; }
  void set_stun_keys(std::span<const Secret<16>>) override {}
  void set_connection_id_keys(std::span<const spa::ConnectionIdKey* const>) override {}
  void set_dns_suffixes(std::span<const spa::DnsSuffix>) override {}
  void flush() override {}
  void allow_source(const IpAddress&) override {}
  void forget_source(const IpAddress&) override {}
  void expect_answer(std::span<const std::uint8_t, 12>, Duration) override {}
  void expect_relay(const SocketAddress&, Duration) override {}
  void expect_dns(const SocketAddress&, Duration) override {}
  Result<void> attach(int, spa::GateSocket) override { return {}; }
  Result<void> detach(int) override { return {}; }
  [[nodiscard]] int program(spa::GateSocket) const override { return -1; }
  [[nodiscard]] bool complete() const override { return true; }
  [[nodiscard]] spa::KernelGateStats stats() const override { return {}; }
};

}  // namespace natt::test
