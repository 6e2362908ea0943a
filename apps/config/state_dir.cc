// SPDX-License-Identifier: Apache-2.0
#include "apps/config/state_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace natt::config {
namespace {

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> io_error(const std::filesystem::path& path, std::string_view what) {
  const int code = errno;
  return fail({code, std::generic_category()}, fmt::format("{}: {}: {}", path.string(), what, std::strerror(code)));
}

Result<void> write_all(int fd, ByteView bytes, const std::filesystem::path& file) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error(file, "cannot be written");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> write_new_file(const std::filesystem::path& file, ByteView bytes) {
  const Descriptor fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return io_error(file, "cannot be made");
  if (auto written = write_all(fd.get(), bytes, file); !written) return written;
  // The umask can only have taken bits away; give exactly 0600.
  if (::fchmod(fd.get(), 0600) != 0 || ::fsync(fd.get()) != 0) return io_error(file, "cannot be written to the disk");
  return {};
}

Result<struct stat> check_readable(int fd, const std::filesystem::path& file, std::size_t limit, Exposure exposure) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error(file, "cannot be read");
  const auto refuse = [&file](std::string_view why) {
    return fail(std::make_error_code(std::errc::permission_denied), fmt::format("{}: {}", file.string(), why));
  };
  if (!S_ISREG(info.st_mode)) return refuse("is not a regular file");
  if (exposure == Exposure::kSecret && (info.st_mode & 077) != 0) {
    return refuse(fmt::format("holds keys but its group or others may use it (mode {:04o}); run: chmod 600 {}",
                              info.st_mode & 07777, file.string()));
  }
  if (static_cast<std::uint64_t>(info.st_size) > limit) return refuse(fmt::format("is larger than {} octets", limit));
  return info;
}

}  // namespace

Result<void> append_to_file(const std::filesystem::path& file, ByteView bytes) {
  const Descriptor fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return io_error(file, "cannot be made");
  if (auto written = write_all(fd.get(), bytes, file); !written) return written;
  if (::fsync(fd.get()) != 0) return io_error(file, "cannot be written to the disk");
  return sync_dir(file.parent_path().empty() ? "." : file.parent_path());
}

Result<void> sync_dir(const std::filesystem::path& dir) {
  const Descriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return io_error(dir, "cannot be written to the disk");
  return {};
}

Result<void> prepare_state_dir(const std::filesystem::path& dir) {
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) return io_error(dir, "state folder cannot be made");
  struct stat info {};
  if (::stat(dir.c_str(), &info) != 0) return io_error(dir, "state folder cannot be used");
  const auto refuse = [&dir](std::string_view why) {
    return fail(std::make_error_code(std::errc::permission_denied),
                fmt::format("{}: state folder {}", dir.string(), why));
  };
  if (!S_ISDIR(info.st_mode)) return refuse("is not a folder");
  if (info.st_uid != ::geteuid()) return refuse("belongs to another user; change its owner or [state] dir");
  if ((info.st_mode & 022) != 0) return refuse("may be written by its group or others; run: chmod 700 on it");
  if (::access(dir.c_str(), R_OK | W_OK | X_OK) != 0) return io_error(dir, "state folder cannot be written");
  return {};
}

Result<void> write_file_atomically(const std::filesystem::path& file, ByteView bytes) {
  std::filesystem::path temporary = file;
  temporary += ".new";
  // Left over from a run that died; nothing else writes here (one program per state folder).
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) return io_error(temporary, "cannot be removed");
  if (auto written = write_new_file(temporary, bytes); !written) return written;
  if (::rename(temporary.c_str(), file.c_str()) != 0) return io_error(file, "cannot be replaced");
  return sync_dir(file.parent_path().empty() ? "." : file.parent_path());
}

Result<void> sync_file(const std::filesystem::path& file) {
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return io_error(file, "cannot be written to the disk");
  return sync_dir(file.parent_path().empty() ? "." : file.parent_path());
}

Result<std::string> read_file(const std::filesystem::path& file, std::size_t limit, Exposure exposure) {
  // Non-blocking: a pipe in place of the file must not hang the program.
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return io_error(file, "cannot be read");
  const auto info = check_readable(fd.get(), file, limit, exposure);
  if (!info) return tl::unexpected(info.error());
  std::string text(static_cast<std::size_t>(info->st_size), '\0');
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(file, "cannot be read");
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  text.resize(filled);
  return text;
}

}  // namespace natt::config
