// SPDX-License-Identifier: Apache-2.0
#include <natt/clock_offset.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

using namespace natt;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using Trust = ClockOffset::Trust;

namespace {

constexpr hours kTenYears{24 * 3652};
const WallTime kTrueStart{seconds(1'800'000'000)};

// A device whose calendar is `wrong` off, and its time since boot.
struct Device {
  WallTime truth = kTrueStart;
  milliseconds wrong{0};
  Duration boot = hours(5);

  [[nodiscard]] spa::HostTime host() const { return {truth + wrong, boot}; }
  void pass(Duration by) {
    truth += std::chrono::duration_cast<milliseconds>(by);
    boot += by;
  }
  void meet(ClockOffset& clock) const { clock.learn(-wrong, host()); }
};

bool says(const std::optional<std::string>& complaint, const std::string& text) {
  return complaint && complaint->find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("clock offset: before any session the device's clock is taken as it is", "[natt][clock]") {
  const Device device{.wrong = kTenYears};
  const ClockOffset clock("boot-a");
  CHECK(clock.trust(device.host()) == Trust::kUnknown);
  CHECK(clock.offset(device.host()) == milliseconds(0));
  CHECK_FALSE(clock.last_session());
  CHECK_FALSE(clock.complaint(device.host()));
  CHECK(clock.serialize().empty());
}

TEST_CASE("clock offset: a clock that is wrong by ten years is corrected to the millisecond", "[natt][clock]") {
  for (const milliseconds wrong : {milliseconds(kTenYears), -milliseconds(kTenYears)}) {
    Device device{.wrong = wrong};
    ClockOffset clock("boot-a");
    device.meet(clock);
    device.pass(hours(77));
    CHECK(clock.trust(device.host()) == Trust::kExact);
    CHECK(clock.time(device.host()) == device.truth);
    CHECK(clock.last_session() == kTrueStart);
    CHECK(says(clock.complaint(device.host()), wrong > milliseconds(0) ? "ahead" : "behind"));
    CHECK(says(clock.complaint(device.host()), "3652 days"));
  }
}

TEST_CASE("clock offset: within one boot it does not matter how often somebody sets the calendar", "[natt][clock]") {
  Device device;
  ClockOffset clock("boot-a");
  device.meet(clock);
  for (const milliseconds wrong :
       {milliseconds(kTenYears), -milliseconds(kTenYears), milliseconds(seconds(59)), milliseconds(0)}) {
    device.pass(minutes(10));
    device.wrong = wrong;
    CHECK(clock.time(device.host()) == device.truth);
    CHECK(clock.complaint(device.host()).has_value() == (std::chrono::abs(wrong) >= seconds(30)));
  }
}

TEST_CASE("clock offset: a reboot carries the offset along as long as the calendar runs on", "[natt][clock]") {
  Device device{.wrong = -hours(3)};
  ClockOffset before("boot-a");
  device.meet(before);
  ClockOffset after("boot-b");
  REQUIRE(after.restore(before.serialize()));

  device.boot = seconds(20);
  device.truth += hours(24 * 400);
  CHECK(after.trust(device.host()) == Trust::kCarried);
  CHECK(after.time(device.host()) == device.truth);
  CHECK(says(after.complaint(device.host()), "10800 s behind"));
}

TEST_CASE("clock offset: a calendar that a reboot threw back is said to be lost", "[natt][clock]") {
  Device device;
  ClockOffset before("boot-a");
  device.meet(before);
  ClockOffset after("boot-b");
  REQUIRE(after.restore(before.serialize()));

  device.boot = seconds(20);
  device.wrong = -milliseconds(kTenYears);
  CHECK(after.trust(device.host()) == Trust::kLost);
  CHECK(after.offset(device.host()) == milliseconds(0));
  CHECK(says(after.complaint(device.host()), "before its last session"));

  device.meet(after);
  CHECK(after.trust(device.host()) == Trust::kExact);
  CHECK(after.time(device.host()) == device.truth);
}

TEST_CASE("clock offset: a correction that leads nowhere is left out in between", "[natt][clock]") {
  Device device{.wrong = -hours(3)};
  ClockOffset before("boot-a");
  device.meet(before);
  ClockOffset after("boot-b");
  REQUIRE(after.restore(before.serialize()));
  // Somebody set the clock right and rebooted: what was carried along is wrong now.
  device.wrong = milliseconds(0);
  device.boot = seconds(9);
  const bool corrected[] = {true, true, false, false, true, true, false, false};
  for (std::size_t failures = 0; failures < 8; ++failures) {
    CAPTURE(failures);
    CHECK((after.offset_after(failures, device.host()) == hours(3)) == corrected[failures]);
  }

  // A small one is not worth the attempts.
  device.wrong = milliseconds(seconds(-29));
  device.meet(after);
  CHECK(after.offset_after(2, device.host()) == seconds(29));
}

TEST_CASE("clock offset: time since boot that went back is another boot, whatever its name", "[natt][clock]") {
  Device device;
  ClockOffset clock("boot-a");
  device.meet(clock);
  device.boot = seconds(1);
  CHECK(clock.trust(device.host()) == Trust::kCarried);

  ClockOffset nameless;
  Device other;
  other.meet(nameless);
  other.pass(seconds(1));
  CHECK(nameless.trust(other.host()) == Trust::kCarried);
}

TEST_CASE("clock offset: every truncation and any other text is refused and changes nothing", "[natt][clock]") {
  Device device{.wrong = hours(1)};
  ClockOffset clock("boot-a");
  device.meet(clock);
  const std::string text = clock.serialize();
  ClockOffset same("boot-a");
  REQUIRE(same.restore(text));
  CHECK(same.serialize() == text);

  for (std::size_t size = 0; size < text.size(); ++size) {
    const auto restored = same.restore(std::string_view(text).substr(0, size));
    CAPTURE(size);
    REQUIRE_FALSE(restored);
    CHECK(restored.error().code == Errc::kMalformed);
  }
  for (const char* bad : {"2 1 1 1 a\n", "1 -1 1 1 a\n", "1 1 1 -1 a\n", "1 x 1 1 a\n", "1 1 1 1 a b\n",
                          "1 1 1 1 a\n\n", "1 253402300799001 1 1 a\n", "1 1 99999999999999999999 1 a\n", "\n"}) {
    CAPTURE(bad);
    CHECK_FALSE(same.restore(bad));
  }
  CHECK(same.serialize() == text);
}
