// SPDX-License-Identifier: Apache-2.0
#pragma once

// The TCP port of a gateway in a TLS site: holds each connection until a frame of a client
// that the policy knows has come in front of its ClientHello, and hands it over then.
// Everybody else is read to nowhere (natt/signal_admission.h); where there is a kernel gate,
// a stranger's SYN is not even answered. Sends nothing, ever. Strangers hold at most a
// quarter of the process's descriptors (RLIMIT_NOFILE).
//
// Resource type on the loop's thread; everything borrowed outlives it. After the destructor
// has returned no callback runs.

#include <map>
#include <memory>

#include <natt/address_grants.h>
#include <natt/deadline_index.h>
#include <natt/signal_admission.h>
#include <natt/spa/kernel_gate.h>
#include <natt/spa/verifier_group.h>
#include <natt/tcp_door_plan.h>
#include <natt/tunnel/uv/gateway_policy.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/tcp_listener.h>
#include <natt/uv/timer.h>

namespace natt::tunnel::uv {

class TlsDoor final : private natt::uv::TcpListener::Listener,
                      private natt::uv::Timer::Listener,
                      private AdmissionPolicy {
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
  [[nodiscard]] SignalAdmissionStats stats() const { return admission_.stats(); }

 private:
  // For a stranger's connection to end in FIN although it still sends.
  static constexpr Duration kClosingTime = std::chrono::seconds(5);

  class Visitor;
  TlsDoor(uv_loop_s& loop, const Options& options, const spa::VerifierGroup& verifiers, const GatewayPolicy& policy,
          Random& random, Owner& owner);
  [[nodiscard]] Result<void> hide(int socket);
  bool admits(const Identity& identity, Admitted::Purpose purpose) const override;
  void on_connection(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) override;
  void on_timer(Instant now) override;
  void handle_bytes(Instant now, ChannelId id, ByteView bytes);
  void handle_gone(Instant now, ChannelId id);
  void handle_event(Instant now, AdmissionEvent event);
  void hand_over(Instant now, const Admitted& admitted);
  void close_silently(Instant now, const CloseConnection& close);
  void flush(Instant now);

  spa::KernelGate* gate_;
  LogSink log_;
  const GatewayPolicy& policy_;
  Owner& owner_;
  TcpDoorPlan plan_;
  AddressGrants grants_;  // none are asked for: each connection proves itself
  SignalAdmission admission_;
  natt::uv::Timer timer_;
  std::map<ChannelId, std::unique_ptr<Visitor>> visitors_;
  DeadlineIndex<ChannelId> closing_;
  std::unique_ptr<natt::uv::TcpListener> listener_;
  std::uint64_t next_channel_ = 1;
  bool flushing_ = false;
};

}  // namespace natt::tunnel::uv
