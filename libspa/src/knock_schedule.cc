// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/knock_schedule.h>

#include <utility>

namespace natt::spa {

KnockId KnockSchedule::start(Instant now) {
  started_ = now;
  id_ = knocker_.next_knock_id();
  stop();
  next_ = 0;
  handle_timeout(now);
  return id_;
}

void KnockSchedule::stop() {
  next_ = kOffsets.size();
  service_due_ = false;
  dns_due_ = false;
}

void KnockSchedule::handle_timeout(Instant now) {
  while (next_ < kOffsets.size() && started_ + kOffsets[next_] <= now) {
    ++next_;
    service_due_ = true;
    dns_due_ = ports_ == KnockPorts::kServiceAndDns;
  }
}

std::optional<Instant> KnockSchedule::next_deadline() const {
  if (next_ == kOffsets.size()) return std::nullopt;
  return started_ + kOffsets[next_];
}

std::optional<KnockDatagram> KnockSchedule::poll_transmit(WallTime wall_now) {
  if (std::exchange(service_due_, false)) return KnockDatagram{Transport::kUdp, knocker_.make_udp_knock(wall_now, id_)};
  if (std::exchange(dns_due_, false)) return KnockDatagram{Transport::kDns, knocker_.make_dns_knock(wall_now, id_)};
  return std::nullopt;
}

}  // namespace natt::spa
