// SPDX-License-Identifier: Apache-2.0
#pragma once

// How far a device's clock is off, as it learnt in its last authenticated session: knocks
// and certificates are judged by the other end's clock, which tells strangers nothing.
//
// What was learnt is tied to the time since boot, which nobody can set: within one boot the
// time is known however often somebody sets the calendar. Over a reboot the offset is
// carried along, unless the calendar now shows a time before the last session: then it was
// lost, and with it what was learnt. Value type, no I/O; the composition keeps the record.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <natt/error.h>
#include <natt/spa/host_clock.h>
#include <natt/time.h>

namespace natt {

class ClockOffset {
 public:
  enum class Trust : std::uint8_t {
    kUnknown,  // no session yet: the device's clock is taken as it is
    kExact,    // learnt in this boot
    kCarried,  // learnt in an earlier boot; right if the calendar ran on meanwhile
    kLost,     // learnt, but the calendar has gone back behind the last session since
  };

  // `boot_id` names this boot of the host (/proc/sys/kernel/random/boot_id); empty when it is not known.
  explicit ClockOffset(std::string boot_id = {}) : boot_id_(std::move(boot_id)) {}

  // In a session: the other end's clock minus this device's calendar.
  void learn(std::chrono::milliseconds offset, const spa::HostTime& now);
  [[nodiscard]] Trust trust(const spa::HostTime& now) const;
  // To be added to the calendar; 0 while unknown or lost.
  [[nodiscard]] std::chrono::milliseconds offset(const spa::HostTime& now) const;
  // The same for an attempt after so many that failed since the last session. A correction that matters is left out in
  // the third and fourth, and so on: the clock may have been set right over a reboot, and the other end of the last
  // session may have been the one whose clock was wrong.
  [[nodiscard]] std::chrono::milliseconds offset_after(std::size_t failures, const spa::HostTime& now) const;
  // The time by the last session: the calendar corrected.
  [[nodiscard]] WallTime time(const spa::HostTime& now) const { return now.wall + offset(now); }
  // When the last session was, by the other end's clock.
  [[nodiscard]] std::optional<WallTime> last_session() const;
  // One sentence for the operator when knocks without correction would be refused, or the clock is lost.
  [[nodiscard]] std::optional<std::string> complaint(const spa::HostTime& now) const;

  // One line, and what a former run wrote. kMalformed leaves the object as it was.
  [[nodiscard]] std::string serialize() const;
  [[nodiscard]] Result<void> restore(std::string_view text);

 private:
  struct Session {
    WallTime wall;                       // this device's calendar
    std::chrono::milliseconds offset{};  // the other end's clock minus it
    std::chrono::milliseconds boot{};    // since boot
    std::string boot_id;
  };

  std::string boot_id_;
  std::optional<Session> session_;
};

}  // namespace natt
