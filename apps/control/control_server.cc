// SPDX-License-Identifier: Apache-2.0
#include "apps/control/control_server.h"

#include <uv.h>

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "apps/control/control_client.h"
#include "apps/control/unix_socket.h"

namespace natt::control {
namespace {

constexpr unsigned kSocketMode = 0660;
constexpr int kBacklog = 16;

}  // namespace

struct ControlServer::Impl final : ControlClient::Owner {
  Impl(std::filesystem::path socket, const CommandTable& table, LogSink sink)
      : path(std::move(socket)), commands(table), log(sink) {}

  void on_client_closed(ControlClient& client) override { std::erase(clients, &client); }

  void accept() {
    ControlClient* client = ControlClient::accept(reinterpret_cast<uv_stream_t*>(&listener), commands, *this);
    if (clients.size() < kMaxControlClients) {
      clients.push_back(client);
      return;
    }
    log(LogLevel::kWarning, fmt::format("control.refused reason=\"{} clients already\"", kMaxControlClients));
    client->close();
  }

  void close() {
    for (ControlClient* client : std::exchange(clients, {})) client->close();
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    uv_close(reinterpret_cast<uv_handle_t*>(&listener),
             [](uv_handle_t* handle) { delete static_cast<Impl*>(handle->data); });
  }

  static void on_connection(uv_stream_t* stream, int status) noexcept {
    if (status == 0) static_cast<Impl*>(stream->data)->accept();
  }

  std::filesystem::path path;
  const CommandTable& commands;
  LogSink log;
  uv_pipe_t listener{};
  std::vector<ControlClient*> clients;
};

Result<std::unique_ptr<ControlServer>> ControlServer::listen(uv_loop_s& loop, std::filesystem::path socket,
                                                             const CommandTable& commands, LogSink log) {
  auto fd = listen_unix(socket, kSocketMode);
  if (!fd) return tl::unexpected(std::move(fd.error()));
  auto* impl = new Impl(std::move(socket), commands, log);
  uv_pipe_init(&loop, &impl->listener, 0);
  impl->listener.data = impl;
  std::unique_ptr<ControlServer> server(new ControlServer(impl));
  int failed = uv_pipe_open(&impl->listener, fd->get());
  if (failed == 0) {
    static_cast<void>(fd->release());
    failed = uv_listen(reinterpret_cast<uv_stream_t*>(&impl->listener), kBacklog, Impl::on_connection);
  }
  if (failed == 0) return server;
  return fail({-failed, std::generic_category()},
              fmt::format("{}: control socket cannot be served: {}", impl->path.string(), uv_strerror(failed)));
}

ControlServer::~ControlServer() { impl_->close(); }

}  // namespace natt::control
