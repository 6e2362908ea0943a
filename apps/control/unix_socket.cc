// SPDX-License-Identifier: Apache-2.0
#include "apps/control/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace natt::control {
namespace {

constexpr int kBacklog = 16;

tl::unexpected<Error> refuse(const std::filesystem::path& path, int code, std::string_view what) {
  return fail({code, std::generic_category()}, fmt::format("{}: {}: {}", path.string(), what, std::strerror(code)));
}

// sockaddr_un holds 107 octets of path; a longer one is named by way of its open folder.
class UnixAddress {
 public:
  explicit UnixAddress(const std::filesystem::path& path) {
    address_.sun_family = AF_UNIX;
    std::string name = path.string();
    if (name.size() >= sizeof address_.sun_path) {
      const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
      dir_ = SocketDescriptor(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      name = fmt::format("/proc/self/fd/{}/{}", dir_.get(), path.filename().string());
    }
    fits_ = name.size() < sizeof address_.sun_path;
    if (fits_) std::memcpy(address_.sun_path, name.data(), name.size());
  }
  [[nodiscard]] bool fits() const { return fits_; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  [[nodiscard]] static socklen_t size() { return sizeof(sockaddr_un); }

 private:
  sockaddr_un address_{};
  SocketDescriptor dir_;
  bool fits_ = false;
};

SocketDescriptor new_socket(int flags) {
  return SocketDescriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

// Removes a socket file that is left over from a program that died.
Result<void> remove_stale(const std::filesystem::path& path, const UnixAddress& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) return refuse(path, EEXIST, "is a file but no socket; move it away or change its name");
  // Non-blocking: a program with a full backlog is alive and answers EAGAIN.
  const SocketDescriptor probe = new_socket(SOCK_NONBLOCK);
  if (::connect(probe.get(), address.get(), UnixAddress::size()) == 0 || errno != ECONNREFUSED) {
    return refuse(path, EADDRINUSE, "another program serves this socket; stop it or name another one");
  }
  if (::unlink(path.c_str()) != 0) return refuse(path, errno, "the socket of a stopped program cannot be removed");
  return {};
}

}  // namespace

SocketDescriptor& SocketDescriptor::operator=(SocketDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

SocketDescriptor::~SocketDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int SocketDescriptor::release() { return std::exchange(fd_, -1); }

Result<SocketDescriptor> listen_unix(const std::filesystem::path& path, unsigned mode) {
  const UnixAddress address(path);
  if (!address.fits()) return refuse(path, ENAMETOOLONG, "cannot be listened on");
  if (auto removed = remove_stale(path, address); !removed) return tl::unexpected(std::move(removed.error()));
  SocketDescriptor fd = new_socket(SOCK_NONBLOCK);
  if (fd.get() < 0) return refuse(path, errno, "no socket could be made");
  // bind() takes the umask into account, so there is no moment with a wider mode.
  const mode_t previous = ::umask(static_cast<mode_t>(0777 & ~mode));
  const int bound = ::bind(fd.get(), address.get(), UnixAddress::size());
  const int code = errno;
  ::umask(previous);
  if (bound != 0) return refuse(path, code, "cannot be listened on");
  if (::listen(fd.get(), kBacklog) != 0) return refuse(path, errno, "cannot be listened on");
  return fd;
}

Result<SocketDescriptor> connect_unix(const std::filesystem::path& path) {
  const UnixAddress address(path);
  if (!address.fits()) return refuse(path, ENAMETOOLONG, "cannot be connected to");
  SocketDescriptor fd = new_socket(0);
  if (fd.get() < 0) return refuse(path, errno, "no socket could be made");
  if (::connect(fd.get(), address.get(), UnixAddress::size()) == 0) return fd;
  const int code = errno;
  if (code == ECONNREFUSED || code == ENOENT) {
    return refuse(path, code, "no program serves this control socket; start it or give its socket with --socket");
  }
  if (code == EACCES) return refuse(path, code, "you may not use this control socket; join its group or use sudo");
  return refuse(path, code, "cannot be connected to");
}

}  // namespace natt::control
