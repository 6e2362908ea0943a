// SPDX-License-Identifier: Apache-2.0
#include "journal_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <natt/spa/errc.h>

#include "memory_budget.h"

namespace natt::spa {
namespace {

// linux/magic.h does not have it: fs/xfs/xfs_format.h.
constexpr std::int64_t kXfsMagic = 0x58465342;

// In the names of files that are being made, after that of the journal.
constexpr std::string_view kUnpublished = ".new-";

std::string_view system_text(int code) { return std::strerror(code); }

tl::unexpected<Error> io_error(const std::filesystem::path& path, std::string_view what, int code) {
  return fail({code, std::generic_category()},
              path.string() + ": " + std::string(what) + ": " + std::string(system_text(code)));
}

class FileSource final : public JournalSource {
 public:
  FileSource(int fd, std::uint64_t size) : fd_(fd), size_(size) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read(std::uint64_t offset, MutableBytes out) override {
    while (!out.empty()) {
      const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      out = out.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return true;
  }

 private:
  int fd_;
  std::uint64_t size_;
};

// The file behind a descriptor; nothing when the kernel does not tell.
std::optional<struct statx> ask(int fd) {
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &info) != 0) return std::nullopt;
  return info;
}

Duration time_of(const struct statx_timestamp& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

JournalOrigin origin_of(const struct statx& info) {
  JournalOrigin origin{.boot_id = read_boot_id(),
                       .device = std::uint64_t{info.stx_dev_major} << 32 | info.stx_dev_minor,
                       .inode = info.stx_ino};
  if ((info.stx_mask & STATX_BTIME) != 0) origin.birth_ns = time_of(info.stx_btime).count();
  return origin;
}

const char* find_fault(const struct statx& info) {
  if (!S_ISREG(info.stx_mode)) return "it is not a regular file";
  if (info.stx_uid != ::geteuid()) return "it belongs to another user";
  if ((info.stx_mode & 077) != 0) return "its group or others may use it";
  if (info.stx_nlink != 1) return "it has a second name";
  return nullptr;
}

// File systems that overwrite in place: a page that was allocated and written once takes every later store. One that
// copies on write (btrfs, zfs) or sits behind a network may run out of space in a store, which kills the process.
bool overwrites_in_place(int fd) {
  struct statfs info {};
  if (::fstatfs(fd, &info) != 0) return false;
  switch (static_cast<std::int64_t>(info.f_type)) {
    case EXT4_SUPER_MAGIC:
    case kXfsMagic:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC: return true;
    default: return false;
  }
}

bool is_on_tmpfs(int fd) {
  struct statfs info {};
  return ::fstatfs(fd, &info) == 0 && info.f_type == TMPFS_MAGIC;
}

// A file that was just made is still listed after a power failure.
void sync_name(int fd, const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const FileDescriptor dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Where it fails the disk is failing, and the journal beside it says more.
  if (::fsync(fd) == 0 && dir.get() >= 0) static_cast<void>(::fsync(dir.get()));
}

int fill_with_zeros(int fd, std::size_t size) {
  const std::vector<std::uint8_t> zeros(std::min<std::size_t>(size, 1 << 18));
  for (std::size_t at = 0; at < size;) {
    const ssize_t written = ::pwrite(fd, zeros.data(), std::min(zeros.size(), size - at), static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    at += static_cast<std::size_t>(written);
  }
  return 0;
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

// "4b3dd2f6-....": 32 hexadecimal digits.
std::array<std::uint8_t, 16> read_boot_id() {
  std::array<std::uint8_t, 16> id{};
  const FileDescriptor fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text{};
  const ssize_t got = fd.get() < 0 ? -1 : ::read(fd.get(), text.data(), text.size());
  std::size_t digits = 0;
  for (ssize_t i = 0; i < got && digits < 32; ++i) {
    const char c = text[static_cast<std::size_t>(i)];
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && !(c >= 'a' && c <= 'f')) continue;
    const auto value = static_cast<std::uint8_t>(is_digit ? c - '0' : c - 'a' + 10);
    id[digits / 2] = static_cast<std::uint8_t>(id[digits / 2] << 4 | value);
    ++digits;
  }
  return digits == 32 ? id : std::array<std::uint8_t, 16>{};
}

std::variant<NoJournal, JournalDamage, FoundJournal> find_journal(const std::filesystem::path& path,
                                                                  const DeviceId& verifier) {
  // Non-blocking: a pipe in place of the file must not hang the program.
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd.get() < 0 && errno == ENOENT) return NoJournal{};
  if (fd.get() < 0 && errno == ELOOP) return JournalDamage{"it is a symbolic link"};
  const auto info = fd.get() < 0 ? std::nullopt : ask(fd.get());
  if (!info) return JournalDamage{"it cannot be read"};
  if (const char* fault = find_fault(*info)) return JournalDamage{fault};
  FileSource source(fd.get(), info->stx_size);
  auto contents = read_journal(source, verifier);
  if (auto* damage = std::get_if<JournalDamage>(&contents)) return std::move(*damage);
  FoundJournal found{std::move(std::get<JournalContents>(contents)), {.now = {}, .origin = origin_of(*info)}};
  found.witness.changed_at = WallTime(std::chrono::floor<std::chrono::milliseconds>(time_of(info->stx_ctime)));
  return found;
}

Result<LockedFile> lock_file(const std::filesystem::path& path) {
  constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  int made = ::open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0600);
  const bool is_new = made >= 0;
  if (!is_new && errno == EEXIST) made = ::open(path.c_str(), kFlags);
  FileDescriptor fd(made);
  if (fd.get() < 0) return io_error(path, "cannot be opened", errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
    if (is_new) sync_name(fd.get(), path);
    const bool is_volatile = is_on_tmpfs(fd.get());
    return LockedFile{std::move(fd), is_new, is_volatile};
  }
  if (errno != EWOULDBLOCK) return io_error(path, "cannot be locked", errno);
  return fail(Errc::kInUse, path.string() + ": another process serves as this verifier; stop it first");
}

void remove_unpublished(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const std::string prefix = path.filename().string() + std::string(kUnpublished);
  std::vector<std::filesystem::path> left;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    if (entry->path().filename().string().starts_with(prefix)) left.push_back(entry->path());
  }
  // One that cannot be removed is in nobody's way.
  for (const std::filesystem::path& file : left) ::unlink(file.c_str());
}

JournalFile::JournalFile(std::filesystem::path path, std::filesystem::path temporary, FileDescriptor fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(std::move(fd)) {}

JournalFile::~JournalFile() {
  if (!memory_.empty()) ::munmap(memory_.data(), memory_.size());
  if (!published_) ::unlink(temporary_.c_str());
}

Result<std::unique_ptr<JournalFile>> JournalFile::make(const std::filesystem::path& path, std::size_t size,
                                                       std::size_t reserve) {
  std::string temporary = path.string() + std::string(kUnpublished) + "XXXXXX";
  // O_EXCL and mode 0600.
  FileDescriptor fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (fd.get() < 0) return io_error(path, "no file can be made beside it", errno);
  std::unique_ptr<JournalFile> file(new JournalFile(path, std::move(temporary), std::move(fd)));
  if (auto prepared = file->prepare(size); !prepared) return tl::unexpected(prepared.error());
  file->take_in(reserve);
  return file;
}

Result<void> JournalFile::prepare(std::size_t size) {
  // The umask can only have taken bits away; give exactly 0600.
  if (::fchmod(fd_.get(), 0600) != 0) return io_error(temporary_, "cannot be made private", errno);
  if (!overwrites_in_place(fd_.get())) {
    return fail(Errc::kUnavailable, path_.string() +
                                        ": its file system may refuse a store later; put [state] dir on "
                                        "ext4, xfs or tmpfs");
  }
  const int reserved = ::posix_fallocate(fd_.get(), 0, static_cast<off_t>(size));
  if (reserved != 0) return io_error(temporary_, "no room for it", reserved);
  if (const int code = fill_with_zeros(fd_.get(), size); code != 0) return io_error(temporary_, "no room for it", code);
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (memory == MAP_FAILED) return io_error(temporary_, "cannot be mapped", errno);
  memory_ = {static_cast<std::uint8_t*>(memory), size};
  // A child of the program has no business with it, and two writers would spoil it.
  static_cast<void>(::madvise(memory, size, MADV_DONTFORK));
  const auto info = ask(fd_.get());
  if (!info) return io_error(temporary_, "cannot be looked at", errno);
  origin_ = origin_of(*info);
  return {};
}

void JournalFile::take_in(std::size_t reserve) {
  // Every page with the right to be written to, so that no first store to one waits for it. MADV_POPULATE_WRITE, Linux
  // 5.14; where it is refused that costs those stores a microsecond each.
  constexpr int kPopulateWrite = 23;
  static_cast<void>(::madvise(memory_.data(), memory_.size(), kPopulateWrite));
  locked_ = may_lock(memory_.size(), reserve) && ::mlock(memory_.data(), memory_.size()) == 0;
}

Result<void> JournalFile::publish() {
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error(path_, "cannot be replaced", errno);
  published_ = true;
  return {};
}

}  // namespace natt::spa
