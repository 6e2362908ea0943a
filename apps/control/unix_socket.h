// SPDX-License-Identifier: Apache-2.0
#pragma once

// UNIX stream sockets by path, for the control socket's server and for nattctl. A path
// longer than the kernel's 107 octets works too (by way of its folder's descriptor).

#include <filesystem>

#include <natt/error.h>

namespace natt::control {

// A descriptor that closes itself. Value type that can only be moved.
class SocketDescriptor {
 public:
  explicit SocketDescriptor(int fd = -1) : fd_(fd) {}
  SocketDescriptor(SocketDescriptor&& other) noexcept : fd_(other.release()) {}
  SocketDescriptor& operator=(SocketDescriptor&& other) noexcept;
  ~SocketDescriptor();
  [[nodiscard]] int get() const { return fd_; }
  // The caller closes it from now on.
  [[nodiscard]] int release();

 private:
  int fd_;
};

// Binds and listens, non-blocking, with mode `mode` from the first moment. A socket file
// that nobody answers on is replaced; a served one and a file that is no socket are errors.
[[nodiscard]] Result<SocketDescriptor> listen_unix(const std::filesystem::path& path, unsigned mode);

// Connects, blocking. Errors name the path and what to do.
[[nodiscard]] Result<SocketDescriptor> connect_unix(const std::filesystem::path& path);

}  // namespace natt::control
