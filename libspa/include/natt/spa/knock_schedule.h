// SPDX-License-Identifier: Apache-2.0
#pragma once

// When to send the UDP knock, and on which ports: at once, after 100 ms and after 300 ms
// (SPA: a knock is never answered, so repeats stand in for retransmission), then ever
// more slowly until somebody says that the door is open. Each time once to the service
// port and once, as a DNS query, to the DNS port: what a firewall eats on one it may let
// through on the other. Every datagram has a fresh nonce and all have the same knock id:
// independent losses, one charge. Sans-I/O core; single thread.
//
//   schedule.start(now);
//   on timer: schedule.handle_timeout(now);
//   while (auto knock = schedule.poll_transmit(wall_now)) send(port_of(knock->carrier), knock->datagram);
//   on proof that the door is open: schedule.stop();

#include <array>
#include <cstdint>
#include <optional>

#include <natt/bytes.h>
#include <natt/spa/knocker.h>
#include <natt/time.h>

namespace natt::spa {

struct KnockDatagram {
  Transport carrier = Transport::kUdp;  // kUdp: to the service port; kDns: to the DNS port
  ByteBuffer datagram;
};

enum class KnockPorts : std::uint8_t { kServiceOnly, kServiceAndDns };

// Resource class. The Knocker outlives it.
class KnockSchedule {
 public:
  // Offsets from start(). The first three are the knock proper. With 30 % loss one of seven arrives in all but 0.02 %
  // of cases even where one of the ports is blocked; all of them fall into the 5 s that a handshake may take.
  static constexpr std::array<Duration, 7> kOffsets{
      std::chrono::milliseconds(0),   std::chrono::milliseconds(100),  std::chrono::milliseconds(300),
      std::chrono::milliseconds(600), std::chrono::milliseconds(1000), std::chrono::milliseconds(1600),
      std::chrono::milliseconds(2500)};

  explicit KnockSchedule(Knocker& knocker, KnockPorts ports = KnockPorts::kServiceAndDns)
      : knocker_(knocker), ports_(ports) {}
  KnockSchedule(const KnockSchedule&) = delete;
  KnockSchedule& operator=(const KnockSchedule&) = delete;

  // Begins a new logical knock; a running one is forgotten. Returns its id, for further carriers.
  KnockId start(Instant now);
  void stop();
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // A datagram that is due. A late timer does not make a burst: what is overdue is sent once.
  [[nodiscard]] std::optional<KnockDatagram> poll_transmit(WallTime wall_now);

 private:
  Knocker& knocker_;
  KnockPorts ports_;
  Instant started_{};
  KnockId id_{};
  std::size_t next_ = kOffsets.size();
  bool service_due_ = false;
  bool dns_due_ = false;
};

}  // namespace natt::spa
