// SPDX-License-Identifier: Apache-2.0
#pragma once

// A device's memory of its sessions in a file, with this host's clocks and the name of this
// boot. Resource type; reads at construction, writes (temporary file, fsync, rename) when
// something changed that matters.

#include <filesystem>

#include <natt/device_memory.h>
#include <natt/log.h>

namespace natt::uv {

class DeviceMemoryFile {
 public:
  // An empty name: nothing is read or written. A missing file is a device without sessions, a damaged one as well,
  // with a log line.
  DeviceMemoryFile(std::filesystem::path file, LogSink log);
  DeviceMemoryFile(const DeviceMemoryFile&) = delete;
  DeviceMemoryFile& operator=(const DeviceMemoryFile&) = delete;

  [[nodiscard]] const DeviceMemory& memory() const { return memory_; }
  // This device's calendar, corrected by what it has learnt.
  [[nodiscard]] WallTime time() const;
  // To be added to the calendar.
  [[nodiscard]] std::chrono::milliseconds clock_offset() const;
  [[nodiscard]] std::optional<std::string> clock_complaint() const;

  // An attempt at one of so many brokers has failed: see ClockOffset::offset_after.
  void note_failure(std::size_t brokers);
  void note_session(std::chrono::milliseconds clock_offset, std::uint16_t own_generation,
                    std::uint16_t known_generation);
  // Without a new session: the clock of the broker that told the time was set.
  void note_clock(std::chrono::milliseconds clock_offset);
  void note_listed(std::uint16_t newest_generation);

 private:
  void write_if_changed();

  std::filesystem::path file_;
  LogSink log_;
  DeviceMemory memory_;
  std::size_t failures_ = 0;  // since the last session
  std::size_t brokers_ = 1;
  // As the file has it.
  std::chrono::milliseconds written_offset_{0};
  WallTime written_at_{};
  std::uint16_t written_known_ = 0;
  std::uint16_t written_used_ = 0;
};

}  // namespace natt::uv
