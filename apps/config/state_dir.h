// SPDX-License-Identifier: Apache-2.0
#pragma once

// The folder where a program keeps what it must not forget, and files written so
// that a crash leaves the old or the new content, never half of it.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <natt/bytes.h>
#include <natt/error.h>

namespace natt::config {

// Makes the folder (0700) when it is missing; an existing one must belong to the
// program's user and be writable for it alone.
[[nodiscard]] Result<void> prepare_state_dir(const std::filesystem::path& dir);

// Writes `bytes` to `file`, mode 0600: temporary file, fsync, rename, fsync of the folder.
[[nodiscard]] Result<void> write_file_atomically(const std::filesystem::path& file, ByteView bytes);

// Appends `bytes` in one write and syncs the file, made 0600 when it is missing. After a crash it ends in all of them,
// some of them, or none.
[[nodiscard]] Result<void> append_to_file(const std::filesystem::path& file, ByteView bytes);

// After a rename inside it: what the folder lists survives a power cut.
[[nodiscard]] Result<void> sync_dir(const std::filesystem::path& dir);

enum class Exposure { kSecret, kPublic };
// What stands in `file` and its name survive a power cut: before anybody is told that it was taken over.
[[nodiscard]] Result<void> sync_file(const std::filesystem::path& file);

// Reads a whole file of at most `limit` octets. With kSecret a file that its group or
// others may read or write is refused.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& file, std::size_t limit, Exposure exposure);

}  // namespace natt::config
