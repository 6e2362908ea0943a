// SPDX-License-Identifier: Apache-2.0
#pragma once

// The control socket of a program: a UNIX socket, mode 0660 from its first moment,
// that answers one JSON line per JSON line (command_table.h). At most 16 clients;
// a request of more than 64 KiB or a client that reads too slowly is cut off.
//
// Resource type, on the loop's thread. Destroying it closes every client and removes
// the socket file; the loop has to run once more for libuv to let go.

#include <cstddef>
#include <filesystem>
#include <memory>

#include <natt/error.h>
#include <natt/log.h>

#include "apps/control/command_table.h"

struct uv_loop_s;

namespace natt::control {

inline constexpr std::size_t kMaxControlClients = 16;

class ControlServer {
 public:
  // `loop` and `commands` outlive the server. A socket file that nobody answers on is
  // replaced; one that another program serves is an error, and so is a file that is no socket.
  [[nodiscard]] static Result<std::unique_ptr<ControlServer>> listen(uv_loop_s& loop, std::filesystem::path socket,
                                                                     const CommandTable& commands, LogSink log);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct Impl;
  explicit ControlServer(Impl* impl) : impl_(impl) {}
  Impl* impl_;  // frees itself when libuv has closed its handles
};

}  // namespace natt::control
