// SPDX-License-Identifier: Apache-2.0
#include <natt/device_memory.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <natt/errc.h>

namespace natt {
namespace {

constexpr std::string_view kKeys = "keys ";
constexpr std::string_view kClock = "clock ";

std::optional<std::uint16_t> take_generation(std::string_view& text, char end) {
  std::uint16_t generation = 0;
  const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), generation);
  if (failed != std::errc{} || stop == text.data() + text.size() || *stop != end) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
  return generation;
}

}  // namespace

void DeviceMemory::note_session(std::uint16_t own, std::uint16_t known) {
  newest_used = std::max(newest_used, own);
  note_listed(std::max(own, known));
}

void DeviceMemory::note_listed(std::uint16_t newest) { newest_known = std::max(newest_known, newest); }

std::optional<std::string> DeviceMemory::key_complaint(std::uint16_t own) const {
  constexpr std::string_view kRemedy = "copy the device's newest file here, which nattctl renew has written";
  if (own < newest_used) {
    return fmt::format(
        "SPA key generation {} of this device's file was retired when generation {} was used; the "
        "newest this site knows is {}: {}",
        own, newest_used, newest_known, kRemedy);
  }
  if (own < newest_known) {
    return fmt::format(
        "SPA key generation {} is in use here and the newest this site knows is {}: {}; the older one "
        "works until then",
        own, newest_known, kRemedy);
  }
  return std::nullopt;
}

std::string DeviceMemory::serialize() const {
  const std::string record = clock.serialize();
  return fmt::format("{}{} {}\n{}{}", kKeys, newest_known, newest_used, kClock, record.empty() ? "\n" : record);
}

Result<void> DeviceMemory::restore(std::string_view text) {
  const auto refuse = [] { return fail(Errc::kMalformed, "this is not what a device remembers of its sessions"); };
  if (!text.starts_with(kKeys)) return refuse();
  text.remove_prefix(kKeys.size());
  const auto known = take_generation(text, ' ');
  const auto used = known ? take_generation(text, '\n') : std::nullopt;
  if (!used || !text.starts_with(kClock)) return refuse();
  text.remove_prefix(kClock.size());
  if (text != "\n") {
    if (auto restored = clock.restore(text); !restored) return restored;
  }
  newest_known = *known;
  newest_used = *used;
  return {};
}

}  // namespace natt
