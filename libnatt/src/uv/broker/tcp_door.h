// SPDX-License-Identifier: Apache-2.0
#pragma once

// A broker's TCP policy at work: puts the operator's mode and visibility into force on
// admission and kernel gate, lets UDP knocks open what they open, and remembers for the
// operator which members knock over UDP from elsewhere. Reloadable.
//
// Resource type; admission, grants and gate outlive it.

#include <map>
#include <optional>
#include <vector>

#include <natt/address_grants.h>
#include <natt/signal_admission.h>
#include <natt/spa/kernel_gate.h>
#include <natt/tcp_door_plan.h>

namespace natt::uv {

class TcpDoor final : public KnockListener {
 public:
  // Members told of in health at a time; further ones replace the oldest.
  static constexpr std::size_t kMaxMissing = 64;
  // One log line per member within it; health forgets it afterwards.
  static constexpr Duration kMissingTime = std::chrono::minutes(10);

  // No gate: null.
  TcpDoor(SignalAdmission& admission, AddressGrants& grants, spa::KernelGate* gate, LogSink log);
  ~TcpDoor() override = default;
  TcpDoor(const TcpDoor&) = delete;
  TcpDoor& operator=(const TcpDoor&) = delete;

  // The first time before there is a listener, again after a reload. An error when a listener that has a gate did not
  // take its other program: then it is as visible as before, and the next call tries again.
  [[nodiscard]] Result<void> set_policy(Instant now, SpaMode mode, std::optional<TcpVisibility> wanted);
  // The socket that policy changes act on; the gate puts later programs on it, too. Best before it listens. A socket
  // that does not take the gate is served as on a host without: the plan says so.
  [[nodiscard]] Result<void> set_listener(int descriptor);

  void on_knock(Instant now, const spa::Grant& grant, const SocketAddress& source) override;
  void handle_knock_missing(Instant now, const KnockMissing& missing);
  // A member's channel is open.
  void handle_opened(Instant now, const Identity& identity, const IpAddress& source);
  // Revocation: its grants end, in the kernel too, and a hello of it that waits for a knock is not let in.
  void remove_device(Instant now, const Identity& identity);

  [[nodiscard]] SpaMode mode() const { return mode_; }
  [[nodiscard]] const TcpDoorPlan& plan() const { return plan_; }
  // What the gate does with SYNs; absent: there is none on the listener.
  [[nodiscard]] std::optional<spa::GateSocket> gate_socket() const;
  [[nodiscard]] std::vector<KnockMissing> missing(Instant now) const;

 private:
  struct Missing {
    KnockMissing report;
    Instant since{};
  };
  [[nodiscard]] Result<void> apply_gate();
  [[nodiscard]] Result<void> remove_gate();
  void go_without_gate(const std::string& reason);
  void log_plan();

  SignalAdmission& admission_;
  AddressGrants& grants_;
  spa::KernelGate* gate_;
  LogSink log_;
  SpaMode mode_ = SpaMode::kUdpTcp;
  std::optional<TcpVisibility> wanted_;
  TcpDoorPlan plan_;
  int listener_ = -1;
  bool gated_ = false;   // the listener has a program of the gate
  bool applied_ = true;  // otherwise the listener still shows what an earlier plan asked for
  std::map<Identity, Missing> missing_;
};

}  // namespace natt::uv
