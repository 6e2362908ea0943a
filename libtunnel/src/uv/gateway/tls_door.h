// SPDX-License-Identifier: Apache-2.0
#pragma once

// The TCP port of a gateway in a TLS site: a port whose visitors prove themselves first
// (natt/uv/admission_port.h), by a frame of a client that the policy knows in front of its
// ClientHello. Where there is a kernel gate, a stranger's SYN is not even answered.
//
// Resource type on the loop's thread; everything borrowed outlives it. After the destructor
// has returned no callback runs.

#include <memory>

#include <natt/address_grants.h>
#include <natt/signal_admission.h>
#include <natt/spa/kernel_gate.h>
#include <natt/spa/verifier_group.h>
#include <natt/tcp_door_plan.h>
#include <natt/tunnel/uv/gateway_policy.h>
#include <natt/uv/admission_port.h>
#include <natt/uv/tcp_connection.h>

namespace natt::tunnel::uv {

class TlsDoor final : private natt::uv::AdmissionPort::Listener, private AdmissionPolicy {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // `hello` is what the client has sent behind its frame: the ClientHello record, and what followed.
    virtual void on_client_admitted(Instant now, const Identity& client,
                                    std::unique_ptr<natt::uv::TcpConnection> connection, ByteView hello) = 0;
  };

  struct Options {
    SocketAddress listen;
    spa::KernelGate* gate = nullptr;  // none: null
    LogSink log;
  };

  // kIo when the port is taken.
  [[nodiscard]] static Result<std::unique_ptr<TlsDoor>> open(uv_loop_s& loop, const Options& options,
                                                             const spa::VerifierGroup& verifiers,
                                                             const GatewayPolicy& policy, Random& random, Owner& owner);
  ~TlsDoor() override;
  TlsDoor(const TlsDoor&) = delete;
  TlsDoor& operator=(const TlsDoor&) = delete;

  // What strangers meet, and why it is not what it should be.
  [[nodiscard]] const TcpDoorPlan& plan() const { return plan_; }
  [[nodiscard]] SignalAdmissionStats stats() const { return port_.admission().stats(); }

 private:
  TlsDoor(uv_loop_s& loop, const Options& options, const spa::VerifierGroup& verifiers, const GatewayPolicy& policy,
          Random& random, Owner& owner);
  [[nodiscard]] Result<void> hide(int socket);
  bool admits(const Identity& identity, Admitted::Purpose purpose) const override;
  void on_admitted(Instant now, Admitted admitted, std::unique_ptr<natt::uv::TcpConnection> connection) override;
  void on_knock_missing(Instant now, const KnockMissing& missing) override;

  spa::KernelGate* gate_;
  LogSink log_;
  const GatewayPolicy& policy_;
  Owner& owner_;
  TcpDoorPlan plan_;
  AddressGrants grants_;  // none are asked for: each connection proves itself
  natt::uv::AdmissionPort port_;
};

}  // namespace natt::tunnel::uv
