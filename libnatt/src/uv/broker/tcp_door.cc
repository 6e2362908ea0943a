// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/tcp_door.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "src/uv/bound_socket.h"

namespace natt::uv {

TcpDoor::TcpDoor(SignalAdmission& admission, AddressGrants& grants, spa::KernelGate* gate, LogSink log)
    : admission_(admission), grants_(grants), gate_(gate), log_(log) {}

Result<void> TcpDoor::set_policy(Instant now, SpaMode mode, std::optional<TcpVisibility> wanted) {
  TcpDoorPlan plan = plan_tcp_door(mode, wanted, gate_ != nullptr);
  const bool same = mode == mode_ && plan == plan_ && listener_ >= 0 && applied_;
  mode_ = mode;
  wanted_ = wanted;
  plan_ = std::move(plan);
  admission_.set_wants_knock(now, plan_.wants_knock);
  if (same) return {};
  log_plan();
  auto done = apply_gate();
  applied_ = done.has_value();
  return done;
}

Result<void> TcpDoor::set_listener(int descriptor) {
  listener_ = descriptor;
  gated_ = false;
  return gate_ == nullptr ? remove_gate() : apply_gate();
}

void TcpDoor::log_plan() {
  log_(LogLevel::kInfo,
       fmt::format("natt.spa.mode mode={} tcp_visibility={}", to_string(mode_), to_string(plan_.visibility)));
  if (!plan_.shortfall.empty()) log_(LogLevel::kWarning, "natt.spa.visible reason=\"" + plan_.shortfall + "\"");
}

std::optional<spa::GateSocket> TcpDoor::gate_socket() const {
  switch (plan_.visibility) {
    case TcpVisibility::kSyn: return spa::GateSocket::kTcpSyn;
    case TcpVisibility::kIp: return spa::GateSocket::kTcpIp;
    case TcpVisibility::kOpen: break;
  }
  return std::nullopt;
}

Result<void> TcpDoor::apply_gate() {
  if (listener_ < 0 || gate_ == nullptr) return {};
  const auto kind = gate_socket();
  if (!kind) return remove_gate();
  auto attached = gate_->attach(listener_, *kind);
  if (attached) {
    gated_ = true;
    return {};
  }
  if (gated_) return attached;
  go_without_gate(attached.error().message);
  return {};
}

// Of an adopted socket also what a former process left there.
Result<void> TcpDoor::remove_gate() {
  gated_ = false;
  if (gate_ != nullptr) return gate_->detach(listener_);
  const int unused = 0;
  const bool detached = ::setsockopt(listener_, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) == 0;
  // ENOENT: there was none.
  if (!detached && errno != ENOENT) return io_error("SO_DETACH_FILTER", errno);
  return {};
}

// A service that strangers see is better than none.
void TcpDoor::go_without_gate(const std::string& reason) {
  plan_ = plan_tcp_door(mode_, wanted_, false);
  plan_.shortfall += ": " + reason;
  log_plan();
}

void TcpDoor::on_knock(Instant now, const spa::Grant& grant, const SocketAddress& source) {
  grants_.on_knock(now, grant, source);
  if (gate_ != nullptr && plan_.opens_sources) {
    // A repeat of a knock whose connection is there already opens nothing again.
    if (grants_.expects(now, source.ip)) {
      gate_->allow_source(source.ip);
    } else {
      gate_->forget_source(source.ip);
    }
  }
  admission_.handle_knock(now, grant.device, source.ip);
}

void TcpDoor::handle_opened(Instant now, const Identity& identity, const IpAddress& source) {
  missing_.erase(identity);
  if (gate_ != nullptr && plan_.opens_sources && !grants_.expects(now, source)) gate_->forget_source(source);
}

void TcpDoor::handle_knock_missing(Instant now, const KnockMissing& missing) {
  const auto known = missing_.find(missing.identity);
  const bool fresh = known == missing_.end() || known->second.since + kMissingTime <= now;
  if (known == missing_.end() && missing_.size() >= kMaxMissing) {
    missing_.erase(std::min_element(missing_.begin(), missing_.end(),
                                    [](const auto& a, const auto& b) { return a.second.since < b.second.since; }));
  }
  Missing& entry = missing_[missing.identity];
  entry.report = missing;
  if (!fresh) return;
  entry.since = now;
  log_(LogLevel::kWarning,
       fmt::format("natt.spa.knock_missing device={} tcp_source={} udp_source={} reason=\"{}\"", missing.identity.uri(),
                   missing.remote.ip.to_string(),
                   missing.knocked_from ? missing.knocked_from->to_string() : std::string("none"),
                   missing.knocked_from ? "UDP and TCP leave its network with different addresses: set [spa] mode = "
                                          "\\\"tcp\\\" on this broker"
                                        : "no UDP knock of it arrived: UDP/443 and UDP/53 are blocked on its way, or "
                                          "set [spa] mode = \\\"tcp\\\" on this broker"));
}

void TcpDoor::remove_device(Instant now, const Identity& identity) {
  const spa::DeviceId device = spa::DeviceId::of(identity);
  for (const IpAddress& source : grants_.remove_device(device)) {
    if (gate_ != nullptr && !grants_.expects(now, source)) gate_->forget_source(source);
  }
  admission_.remove_device(now, device);
  missing_.erase(identity);
}

std::vector<KnockMissing> TcpDoor::missing(Instant now) const {
  std::vector<KnockMissing> reports;
  for (const auto& [identity, entry] : missing_) {
    if (entry.since + kMissingTime > now) reports.push_back(entry.report);
  }
  return reports;
}

}  // namespace natt::uv
