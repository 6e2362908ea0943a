// SPDX-License-Identifier: Apache-2.0
#include "apps/control/control_client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <utility>

namespace natt::control {
namespace {

// Neither a request nor the reading of a response takes this long on one host.
constexpr std::uint64_t kIdleMilliseconds = 60'000;

Caller caller_of(const uv_pipe_t& pipe) {
  uv_os_fd_t fd = -1;
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (uv_fileno(reinterpret_cast<const uv_handle_t*>(&pipe), &fd) != 0 ||
      ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return Caller::kReader;
  }
  return credentials.uid == 0 || credentials.uid == ::geteuid() ? Caller::kOwner : Caller::kReader;
}

}  // namespace

ControlClient::ControlClient(uv_loop_t& loop, const CommandTable& commands, Owner& owner)
    : commands_(commands), owner_(&owner) {
  uv_pipe_init(&loop, &pipe_, 0);
  uv_timer_init(&loop, &timer_);
  pipe_.data = this;
  timer_.data = this;
  write_.data = this;
}

ControlClient* ControlClient::accept(uv_stream_t* listener, const CommandTable& commands, Owner& owner) {
  auto* client = new ControlClient(*listener->loop, commands, owner);
  if (uv_accept(listener, reinterpret_cast<uv_stream_t*>(&client->pipe_)) == 0) {
    client->caller_ = caller_of(client->pipe_);
    client->restart_timer();
    client->start();
  } else {
    client->close();
  }
  return client;
}

void ControlClient::close() {
  owner_ = nullptr;
  auto* pipe = reinterpret_cast<uv_handle_t*>(&pipe_);
  if (uv_is_closing(pipe) != 0) return;
  uv_close(pipe, on_handle_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), on_handle_closed);
}

void ControlClient::finish() {
  Owner* owner = std::exchange(owner_, nullptr);
  close();
  if (owner != nullptr) owner->on_client_closed(*this);
}

void ControlClient::start() { uv_read_start(reinterpret_cast<uv_stream_t*>(&pipe_), on_allocate, on_read); }

void ControlClient::restart_timer() { uv_timer_start(&timer_, on_timeout, kIdleMilliseconds, 0); }

void ControlClient::handle_input(std::string_view bytes) {
  input_.append(bytes);
  restart_timer();
  if (!writing_) run_next_line();
}

void ControlClient::run_next_line() {
  const std::size_t end = input_.find('\n');
  if (end == std::string::npos) {
    if (input_.size() > kMaxRequestBytes) finish();
    return;
  }
  const std::string line = input_.substr(0, end);
  input_.erase(0, end + 1);
  if (line.size() > kMaxRequestBytes) return finish();
  std::string response = commands_.run(line, caller_);
  // The command may have ended the program's server.
  if (owner_ != nullptr) write(std::move(response) + "\n");
}

void ControlClient::write(std::string response) {
  output_ = std::move(response);
  writing_ = true;
  uv_read_stop(reinterpret_cast<uv_stream_t*>(&pipe_));
  const uv_buf_t buffer = uv_buf_init(output_.data(), static_cast<unsigned>(output_.size()));
  if (uv_write(&write_, reinterpret_cast<uv_stream_t*>(&pipe_), &buffer, 1, on_written) != 0) finish();
}

void ControlClient::on_allocate(uv_handle_t* handle, std::size_t /*suggested*/, uv_buf_t* buffer) noexcept {
  auto* client = static_cast<ControlClient*>(handle->data);
  *buffer = uv_buf_init(client->chunk_, sizeof client->chunk_);
}

void ControlClient::on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) noexcept {
  auto* client = static_cast<ControlClient*>(stream->data);
  if (client->owner_ == nullptr) return;
  if (count < 0) return client->finish();
  client->handle_input({buffer->base, static_cast<std::size_t>(count)});
}

void ControlClient::on_written(uv_write_t* request, int status) noexcept {
  auto* client = static_cast<ControlClient*>(request->data);
  if (client->owner_ == nullptr) return;
  if (status != 0) return client->finish();
  client->writing_ = false;
  client->output_.clear();
  client->restart_timer();
  client->start();
  client->run_next_line();
}

void ControlClient::on_timeout(uv_timer_t* timer) noexcept { static_cast<ControlClient*>(timer->data)->finish(); }

void ControlClient::on_handle_closed(uv_handle_t* handle) noexcept {
  auto* client = static_cast<ControlClient*>(handle->data);
  if (--client->open_handles_ == 0) delete client;
}

}  // namespace natt::control
