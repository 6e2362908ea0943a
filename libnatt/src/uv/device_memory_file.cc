// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/device_memory_file.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "src/uv/descriptor.h"

namespace natt::uv {
namespace {

// What the file may differ from what was learnt: a clock drifts by this much in a week or two.
constexpr std::chrono::seconds kOffsetWorthWriting{5};
// A restart after a long time knows a recent session.
constexpr std::chrono::hours kAgeWorthWriting{24};

std::string read_small(const std::filesystem::path& file) {
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 512> text{};
  const ssize_t got = fd.get() < 0 ? -1 : ::read(fd.get(), text.data(), text.size());
  return got <= 0 ? std::string() : std::string(text.data(), static_cast<std::size_t>(got));
}

std::string boot_id() {
  std::string id = read_small("/proc/sys/kernel/random/boot_id");
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

// False with errno.
bool write_atomically(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::path temporary = file;
  temporary += ".new";
  {
    const Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd.get() < 0) return false;
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return false;
    if (::fsync(fd.get()) != 0) return false;
  }
  return ::rename(temporary.c_str(), file.c_str()) == 0;
}

}  // namespace

DeviceMemoryFile::DeviceMemoryFile(std::filesystem::path file, LogSink log)
    : file_(std::move(file)), log_(log), memory_{.clock = ClockOffset(boot_id())} {
  if (file_.empty()) return;
  const std::string text = read_small(file_);
  if (text.empty()) return;
  if (const auto restored = memory_.restore(text); !restored) {
    log_(LogLevel::kWarning,
         "natt.device_memory.unreadable file=" + file_.string() + " reason=\"" + restored.error().message + "\"");
    return;
  }
  written_known_ = memory_.newest_known;
  written_used_ = memory_.newest_used;
}

WallTime DeviceMemoryFile::time() const {
  const spa::HostTime now = spa::SystemHostClock().read();
  return now.wall + memory_.clock.offset_after(failures_ / brokers_, now);
}

std::chrono::milliseconds DeviceMemoryFile::clock_offset() const {
  return memory_.clock.offset_after(failures_ / brokers_, spa::SystemHostClock().read());
}

void DeviceMemoryFile::note_failure(std::size_t brokers) {
  brokers_ = brokers == 0 ? 1 : brokers;
  ++failures_;
}

std::optional<std::string> DeviceMemoryFile::clock_complaint() const {
  return memory_.clock.complaint(spa::SystemHostClock().read());
}

void DeviceMemoryFile::note_session(std::chrono::milliseconds clock_offset, std::uint16_t own_generation,
                                    std::uint16_t known_generation) {
  memory_.clock.learn(clock_offset, spa::SystemHostClock().read());
  memory_.note_session(own_generation, known_generation);
  failures_ = 0;
  write_if_changed();
}

void DeviceMemoryFile::note_clock(std::chrono::milliseconds clock_offset) {
  memory_.clock.learn(clock_offset, spa::SystemHostClock().read());
  write_if_changed();
}

void DeviceMemoryFile::note_listed(std::uint16_t newest_generation) {
  memory_.note_listed(newest_generation);
  write_if_changed();
}

void DeviceMemoryFile::write_if_changed() {
  const spa::HostTime now = spa::SystemHostClock().read();
  const std::chrono::milliseconds offset = memory_.clock.offset(now);
  const bool same = memory_.newest_known == written_known_ && memory_.newest_used == written_used_ &&
                    std::chrono::abs(offset - written_offset_) < kOffsetWorthWriting &&
                    std::chrono::abs(now.wall - written_at_) < kAgeWorthWriting;
  if (file_.empty() || same) return;
  if (!write_atomically(file_, memory_.serialize())) {
    log_(LogLevel::kError,
         "natt.device_memory.not_written file=" + file_.string() + " reason=\"" + std::strerror(errno) + "\"");
    return;
  }
  written_offset_ = offset;
  written_at_ = now.wall;
  written_known_ = memory_.newest_known;
  written_used_ = memory_.newest_used;
}

}  // namespace natt::uv
