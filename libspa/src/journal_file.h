// SPDX-License-Identifier: Apache-2.0
#pragma once

// Files of the replay journal: reading one that anybody may have tampered with, making a
// new one whose pages cannot fail, and the lock. Nothing here follows a symbolic link.

#include <filesystem>
#include <memory>
#include <string>
#include <variant>

#include <natt/error.h>

#include "journal_reader.h"
#include "journal_trust.h"

namespace natt::spa {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  int fd_;
};

// Of this boot of this host; zero when the kernel does not say.
[[nodiscard]] std::array<std::uint8_t, 16> read_boot_id();

struct NoJournal {};
struct FoundJournal {
  JournalContents contents;
  JournalWitness witness;  // but for `now`
};
// Refuses, as damage, what is not a plain file of this user alone.
[[nodiscard]] std::variant<NoJournal, JournalDamage, FoundJournal> find_journal(const std::filesystem::path& path,
                                                                                const DeviceId& verifier);

struct LockedFile {
  FileDescriptor fd;
  bool made = false;  // it was not there before, and is on the disk now
  // It is on a tmpfs, which a restart of the host empties.
  bool is_volatile = false;
};
// An exclusive lock that the kernel takes back when the process ends, however it ends. Errc::kInUse when taken.
[[nodiscard]] Result<LockedFile> lock_file(const std::filesystem::path& path);

// Removes what a run that died while it made a file has left. For who holds the lock, before it makes one itself.
void remove_unpublished(const std::filesystem::path& path);

// A new file, mapped, all zero, mode 0600, under `path` + ".new-" and a name of its own until publish(). May be made,
// published and destroyed in another thread than the one that uses its memory, one after the other; the destruction of
// one may meet the making of the next.
class JournalFile {
 public:
  // Every octet is written once, on a file system that then never needs space for it again: a store cannot fail. Its
  // pages are in memory, and locked there if `reserve` octets for keys can still be locked after it.
  [[nodiscard]] static Result<std::unique_ptr<JournalFile>> make(const std::filesystem::path& path, std::size_t size,
                                                                 std::size_t reserve);
  ~JournalFile();
  JournalFile(const JournalFile&) = delete;
  JournalFile& operator=(const JournalFile&) = delete;

  [[nodiscard]] MutableBytes memory() const { return memory_; }
  [[nodiscard]] const JournalOrigin& origin() const { return origin_; }
  // Otherwise the system may take its pages back, and a store waits for the disk.
  [[nodiscard]] bool locked() const { return locked_; }
  // Replaces what stands at `path`.
  [[nodiscard]] Result<void> publish();

 private:
  JournalFile(std::filesystem::path path, std::filesystem::path temporary, FileDescriptor fd);
  [[nodiscard]] Result<void> prepare(std::size_t size);
  void take_in(std::size_t reserve);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor fd_;
  bool published_ = false;
  bool locked_ = false;
  MutableBytes memory_;
  JournalOrigin origin_;
};

}  // namespace natt::spa
