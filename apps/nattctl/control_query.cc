// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/control_query.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/control/unix_socket.h"

namespace natt::ctl {
namespace {

namespace fs = std::filesystem;

// A program answers within milliseconds; one that does not is stuck, and the operator wants to know.
constexpr timeval kPatience{.tv_sec = 10, .tv_usec = 0};
constexpr std::size_t kMaxResponseBytes = 256u << 20;  // the sessions of a very large broker

tl::unexpected<Error> complain(const fs::path& socket, std::string_view what) {
  return fail(std::make_error_code(std::errc::io_error), fmt::format("{}: {}", socket.string(), what));
}

Result<void> send_line(int fd, const fs::path& socket, std::string_view line) {
  while (!line.empty()) {
    const ssize_t sent = ::send(fd, line.data(), line.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0)
      return complain(socket, fmt::format("the program does not take the question: {}", std::strerror(errno)));
    line.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<std::string> receive_line(int fd, const fs::path& socket) {
  std::string line;
  char chunk[65536];
  while (line.size() < kMaxResponseBytes) {
    const ssize_t got = ::recv(fd, chunk, sizeof chunk, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return complain(socket, "the program did not answer within 10 s; look at its log");
    if (got == 0)
      return complain(socket, "the program closed the connection; it may serve 16 others already, try again");
    line.append(chunk, static_cast<std::size_t>(got));
    if (line.ends_with('\n')) return line;
  }
  return complain(socket, "the program's answer is too large");
}

void add_sockets(const fs::path& dir, std::vector<fs::path>& found) {
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(dir, fs::directory_options::skip_permission_denied, failed)) {
    const std::string name = entry.path().filename().string();
    const fs::path socket = name.starts_with("state-") ? entry.path() / "control.sock" : entry.path();
    if (socket.extension() == ".sock" && control::connect_unix(socket)) found.push_back(socket);
  }
}

}  // namespace

Result<nlohmann::json> query(const fs::path& socket, const std::string& command, const nlohmann::json& arguments) {
  const auto fd = control::connect_unix(socket);
  if (!fd) return tl::unexpected(fd.error());
  ::setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  const nlohmann::json request = {{"command", command}, {"arguments", arguments}};
  if (auto sent = send_line(fd->get(), socket, request.dump() + "\n"); !sent)
    return tl::unexpected(std::move(sent.error()));
  const auto line = receive_line(fd->get(), socket);
  if (!line) return tl::unexpected(line.error());
  nlohmann::json response = nlohmann::json::parse(*line, nullptr, false);
  if (!response.is_object() || !response.contains("ok"))
    return complain(socket, "the answer is none of a natt program");
  if (response["ok"] != true) return complain(socket, response.value("error", "the program refused without a reason"));
  return response.contains("result") ? std::move(response["result"]) : nlohmann::json();
}

Result<fs::path> find_socket() {
  if (const char* named = std::getenv("NATT_SOCKET"); named != nullptr && *named != '\0') return fs::path(named);
  std::vector<fs::path> found;
  for (const fs::path dir : {".", "/etc/natt", "/var/lib/natt", "/var/lib/natt-broker", "/var/lib/natt-gateway",
                             "/run/natt", "/run/natt-broker", "/run/natt-gateway"}) {
    add_sockets(dir, found);
  }
  if (found.size() == 1) return found.front();
  std::string list;
  for (const fs::path& socket : found) list += " " + socket.string();
  return fail(std::make_error_code(std::errc::no_such_file_or_directory),
              found.empty() ? "no running program was found here; name its control socket with --socket"
                            : fmt::format("several programs run here; choose with --socket:{}", list));
}

}  // namespace natt::ctl
