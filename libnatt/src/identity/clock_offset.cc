// SPDX-License-Identifier: Apache-2.0
#include <natt/clock_offset.h>

#include <charconv>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

namespace natt {
namespace {

using std::chrono::milliseconds;

// Beyond it a verifier refuses knocks (spa::Verifier::kMaxSkew); half of it leaves room for drift.
constexpr milliseconds kWorthSaying{30'000};
// A calendar that was corrected by this much is not lost.
constexpr milliseconds kSmallStep{60'000};
// Year 9999 in milliseconds: arithmetic on what a file says cannot overflow.
constexpr std::int64_t kMaxTime = 253'402'300'799'000;

milliseconds since_boot(const spa::HostTime& now) { return std::chrono::duration_cast<milliseconds>(now.boot); }

std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed != std::errc{} || stop == text.data() + text.size() || *stop != ' ') return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
  return number < -kMaxTime || number > kMaxTime ? std::nullopt : std::optional(number);
}

std::string duration_text(milliseconds duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::abs(duration)).count();
  if (seconds >= 2 * 86400) return fmt::format("{} s ({} days)", seconds, seconds / 86400);
  return fmt::format("{} s", seconds);
}

}  // namespace

void ClockOffset::learn(milliseconds offset, const spa::HostTime& now) {
  session_ = Session{now.wall, offset, since_boot(now), boot_id_};
}

ClockOffset::Trust ClockOffset::trust(const spa::HostTime& now) const {
  if (!session_) return Trust::kUnknown;
  if (!boot_id_.empty() && session_->boot_id == boot_id_ && since_boot(now) >= session_->boot) return Trust::kExact;
  return now.wall + kSmallStep < session_->wall ? Trust::kLost : Trust::kCarried;
}

milliseconds ClockOffset::offset(const spa::HostTime& now) const {
  switch (trust(now)) {
    case Trust::kUnknown:
    case Trust::kLost: return milliseconds(0);
    case Trust::kCarried: return session_->offset;
    case Trust::kExact: return session_->wall + session_->offset + (since_boot(now) - session_->boot) - now.wall;
  }
  return milliseconds(0);
}

milliseconds ClockOffset::offset_after(std::size_t failures, const spa::HostTime& now) const {
  const milliseconds known = offset(now);
  return std::chrono::abs(known) >= kWorthSaying && failures / 2 % 2 == 1 ? milliseconds(0) : known;
}

std::optional<WallTime> ClockOffset::last_session() const {
  return session_ ? std::optional(session_->wall + session_->offset) : std::nullopt;
}

std::optional<std::string> ClockOffset::complaint(const spa::HostTime& now) const {
  const Trust known = trust(now);
  if (known == Trust::kLost) {
    return fmt::format("this device's clock shows a time {} before its last session with the site: set the clock",
                       duration_text(session_->wall - now.wall));
  }
  const milliseconds off = offset(now);
  if (std::chrono::abs(off) < kWorthSaying) return std::nullopt;
  return fmt::format("this device's clock is {} {}, as its last session with the site showed{}: set the clock",
                     duration_text(off), off.count() > 0 ? "behind" : "ahead",
                     known == Trust::kExact ? "; knocks and certificates are corrected for it"
                                            : "; knocks are corrected for it as long as the clock runs on");
}

std::string ClockOffset::serialize() const {
  if (!session_) return {};
  return fmt::format("1 {} {} {} {}\n", session_->wall.time_since_epoch().count(), session_->offset.count(),
                     session_->boot.count(), session_->boot_id);
}

Result<void> ClockOffset::restore(std::string_view text) {
  const auto refuse = [] { return fail(Errc::kMalformed, "this is no record of a device's clock"); };
  if (text.empty() || text.back() != '\n') return refuse();
  text.remove_suffix(1);
  const auto version = take_number(text);
  const auto wall = take_number(text);
  const auto offset = take_number(text);
  const auto boot = take_number(text);
  if (version != 1 || !wall || *wall < 0 || !offset || !boot || *boot < 0) return refuse();
  if (text.size() > 64 || text.find_first_of(" \n") != std::string_view::npos) return refuse();
  session_ = Session{WallTime(milliseconds(*wall)), milliseconds(*offset), milliseconds(*boot), std::string(text)};
  return {};
}

}  // namespace natt
