// SPDX-License-Identifier: Apache-2.0
#include "apps/control/control_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <memory>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <nlohmann/json.hpp>

#include "apps/control/file_watch.h"
#include "apps/control/unix_socket.h"
#include "unit/apps/temporary_folder.h"

namespace natt::control {
namespace {

using Catch::Matchers::ContainsSubstring;

// A loop of the test's own, run to the end of its handles before it is closed.
class Loop {
 public:
  Loop() { uv_loop_init(&loop_); }
  ~Loop() {
    uv_run(&loop_, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop_) == 0);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  uv_loop_t& get() { return loop_; }
  void turn() { uv_run(&loop_, UV_RUN_NOWAIT); }

 private:
  uv_loop_t loop_{};
};

// A client that never blocks the loop it shares a thread with.
class Peer {
 public:
  explicit Peer(const std::filesystem::path& path) {
    auto fd = connect_unix(path);
    REQUIRE(fd);
    fd_ = std::move(*fd);
    ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
  }
  void send(std::string_view text) const {
    REQUIRE(::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  // Reads until `lines` lines are there or the server hung up.
  std::string receive(Loop& loop, int lines) const {
    std::string text;
    for (int turns = 0; turns < 10000 && std::count(text.begin(), text.end(), '\n') < lines; ++turns) {
      loop.turn();
      char chunk[65536];
      const ssize_t got = ::recv(fd_.get(), chunk, sizeof chunk, 0);
      if (got == 0) return text + "<closed>";
      if (got > 0) text.append(chunk, static_cast<std::size_t>(got));
    }
    return text;
  }
  // Whether the server hung up within some turns of the loop.
  bool is_cut_off(Loop& loop) const { return receive(loop, 1'000'000).ends_with("<closed>"); }

 private:
  SocketDescriptor fd_;
};

const std::string kPing = "{\"command\":\"ping\"}\n";
const std::string kPong = "{\"ok\":true,\"result\":\"pong\"}\n";

struct World {
  World() {
    commands.add("ping", Access::kRead,
                 [](const nlohmann::json&) -> Result<nlohmann::json> { return nlohmann::json("pong"); });
    commands.add("big", Access::kRead, [](const nlohmann::json&) -> Result<nlohmann::json> {
      return nlohmann::json(std::string(3'000'000, 'x'));
    });
    commands.add("write", Access::kWrite,
                 [](const nlohmann::json&) -> Result<nlohmann::json> { return nlohmann::json("done"); });
    auto listening = ControlServer::listen(loop.get(), socket, commands, {});
    REQUIRE(listening);
    server = std::move(*listening);
  }

  test::TemporaryFolder folder;
  std::filesystem::path socket = folder.path() / "control.sock";
  CommandTable commands;
  Loop loop;
  std::unique_ptr<ControlServer> server;
};

TEST_CASE("control server: answers each line, also when several come at once or in pieces", "[apps][control]") {
  World world;
  const Peer peer(world.socket);

  peer.send(kPing + kPing + kPing.substr(0, 5));
  CHECK(peer.receive(world.loop, 2) == kPong + kPong);
  peer.send(kPing.substr(5));
  CHECK(peer.receive(world.loop, 1) == kPong);
}

TEST_CASE("control server: the socket is 0660 and gone when the server is", "[apps][control]") {
  World world;
  CHECK(world.folder.mode("control.sock") == 0660);

  world.server.reset();
  CHECK_FALSE(std::filesystem::exists(world.socket));
}

TEST_CASE("control server: a large answer arrives whole", "[apps][control]") {
  World world;
  const Peer peer(world.socket);

  peer.send("{\"command\":\"big\"}\n" + kPing);
  const std::string text = peer.receive(world.loop, 2);
  CHECK(text.size() > 3'000'000);
  CHECK(text.ends_with(kPong));
}

TEST_CASE("control server: the program's own user may change settings", "[apps][control]") {
  World world;
  const Peer peer(world.socket);

  peer.send("{\"command\":\"write\"}\n");
  CHECK_THAT(peer.receive(world.loop, 1), ContainsSubstring("done"));
}

TEST_CASE("control server: a request without an end is cut off at its limit", "[apps][control]") {
  World world;
  const Peer peer(world.socket);
  const std::string piece(4096, 'x');

  for (std::size_t sent = 0; sent < kMaxRequestBytes; sent += piece.size()) {
    peer.send(piece);
    for (int i = 0; i < 4; ++i) world.loop.turn();
  }
  peer.send("x");
  CHECK(peer.is_cut_off(world.loop));
  const Peer next(world.socket);
  next.send(kPing);
  CHECK(next.receive(world.loop, 1) == kPong);
}

TEST_CASE("control server: the seventeenth client is refused and the others are served", "[apps][control]") {
  World world;
  std::vector<std::unique_ptr<Peer>> peers;
  for (std::size_t i = 0; i < kMaxControlClients; ++i) {
    peers.push_back(std::make_unique<Peer>(world.socket));
    world.loop.turn();
  }

  CHECK(Peer(world.socket).is_cut_off(world.loop));
  peers.back()->send(kPing);
  CHECK(peers.back()->receive(world.loop, 1) == kPong);
  peers.pop_back();
  for (int i = 0; i < 4; ++i) world.loop.turn();
  const Peer next(world.socket);
  next.send(kPing);
  CHECK(next.receive(world.loop, 1) == kPong);
}

TEST_CASE("control server: destroying it mid-answer is boring", "[apps][control]") {
  World world;
  const Peer peer(world.socket);
  peer.send("{\"command\":\"big\"}\n");
  world.loop.turn();
  world.loop.turn();

  world.server.reset();
  CHECK(peer.is_cut_off(world.loop));
}

TEST_CASE("control server: a command may destroy the server it came through", "[apps][control]") {
  World world;
  world.commands.add("stop", Access::kWrite, [&world](const nlohmann::json&) -> Result<nlohmann::json> {
    world.server.reset();
    return nlohmann::json("stopped");
  });
  const Peer peer(world.socket);

  peer.send("{\"command\":\"stop\"}\n" + kPing);
  CHECK(peer.is_cut_off(world.loop));
}

TEST_CASE("control server: a socket in use, a stale one and a plain file are told apart", "[apps][control]") {
  World world;

  const auto second = ControlServer::listen(world.loop.get(), world.socket, world.commands, {});
  REQUIRE_FALSE(second);
  CHECK_THAT(second.error().message, ContainsSubstring("control.sock: another program serves this socket"));

  const auto stale = world.folder.path() / "stale.sock";
  { const auto dead = listen_unix(stale, 0660); }
  REQUIRE(std::filesystem::exists(stale));
  CHECK(ControlServer::listen(world.loop.get(), stale, world.commands, {}));

  const auto file = world.folder.write("file.sock", "precious");
  const auto refused = ControlServer::listen(world.loop.get(), file, world.commands, {});
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, ContainsSubstring("is a file but no socket"));
  CHECK(world.folder.read("file.sock") == "precious");

  const auto nowhere =
      ControlServer::listen(world.loop.get(), world.folder.path() / "no/such.sock", world.commands, {});
  REQUIRE_FALSE(nowhere);
  CHECK_THAT(nowhere.error().message, ContainsSubstring("no/such.sock"));
}

TEST_CASE("control server: a path longer than the kernel's limit works", "[apps][control]") {
  World world;
  const auto deep = world.folder.path() / std::string(120, 'd');
  std::filesystem::create_directory(deep);

  const auto server = ControlServer::listen(world.loop.get(), deep / "control.sock", world.commands, {});
  REQUIRE(server);
  const Peer peer(deep / "control.sock");
  peer.send(kPing);
  CHECK(peer.receive(world.loop, 1) == kPong);
}

TEST_CASE("control client: nobody behind the socket is one sentence with what to do", "[apps][control]") {
  const test::TemporaryFolder folder;

  CHECK_THAT(connect_unix(folder.path() / "none.sock").error().message, ContainsSubstring("--socket"));
}

TEST_CASE("file watch: tells of a file that appears and of one that is replaced", "[apps][control]") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "roster";
  Loop loop;
  int changes = 0;
  const auto run_until = [&](int wanted) {
    for (int turns = 0; turns < 400 && changes < wanted; ++turns) {
      uv_run(&loop.get(), UV_RUN_NOWAIT);
      ::poll(nullptr, 0, 5);
    }
    return changes;
  };
  FileWatch watch(loop.get(), file, [&changes] { ++changes; });
  run_until(0);
  ::poll(nullptr, 0, 50);
  loop.turn();

  folder.write("roster", "one");
  CHECK(run_until(1) == 1);
  folder.write("new", "other");
  std::filesystem::rename(folder.path() / "new", file);
  CHECK(run_until(2) == 2);
}

TEST_CASE("file watch: its callback may destroy it", "[apps][control]") {
  const test::TemporaryFolder folder;
  Loop loop;
  std::unique_ptr<FileWatch> watch;
  watch = std::make_unique<FileWatch>(loop.get(), folder.path() / "roster", [&watch] { watch.reset(); });
  for (int turns = 0; turns < 20; ++turns) {
    loop.turn();
    ::poll(nullptr, 0, 2);
  }

  folder.write("roster", "one");
  for (int turns = 0; turns < 400 && watch; ++turns) {
    loop.turn();
    ::poll(nullptr, 0, 5);
  }
  CHECK_FALSE(watch);
}

}  // namespace
}  // namespace natt::control
