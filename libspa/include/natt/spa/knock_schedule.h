// SPDX-License-Identifier: Apache-2.0
#pragma once

// When to send the UDP knock: at once, after 100 ms and after 300 ms (SPA: a knock is
// never answered, so repeats stand in for retransmission). Each repeat has a fresh
// nonce and the same knock id: three copies, three independent losses, one charge.
// Sans-I/O core; single thread.
//
//   schedule.start(now);
//   on timer: schedule.handle_timeout(now);
//   while (auto datagram = schedule.poll_transmit(wall_now)) send(*datagram);
//   on proof that the door is open: schedule.stop();

#include <array>
#include <cstdint>
#include <optional>

#include <natt/bytes.h>
#include <natt/spa/knocker.h>
#include <natt/time.h>

namespace natt::spa {

// Resource class. The Knocker outlives it.
class KnockSchedule {
 public:
  // Offsets from start().
  static constexpr std::array<Duration, 3> kOffsets{std::chrono::milliseconds(0), std::chrono::milliseconds(100),
                                                    std::chrono::milliseconds(300)};

  explicit KnockSchedule(Knocker& knocker) : knocker_(knocker) {}
  KnockSchedule(const KnockSchedule&) = delete;
  KnockSchedule& operator=(const KnockSchedule&) = delete;

  // Begins a new logical knock; a running one is forgotten. Returns its id, for further carriers.
  KnockId start(Instant now);
  void stop();
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // A datagram that is due. A late timer does not make a burst: what is overdue is sent once.
  [[nodiscard]] std::optional<ByteBuffer> poll_transmit(WallTime wall_now);

 private:
  Knocker& knocker_;
  Instant started_{};
  KnockId id_{};
  std::size_t next_ = kOffsets.size();
  bool due_ = false;
};

}  // namespace natt::spa
