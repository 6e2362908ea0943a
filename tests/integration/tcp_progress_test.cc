// SPDX-License-Identifier: Apache-2.0
// What a kernel tells of a peer that reads slowly, or not at all.
#include <catch2/catch_test_macros.hpp>

#include "integration/tcp_pair.h"
#include "integration/watched_connection.h"
#include "src/uv/gateway/tcp_progress.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

// Nothing is read at the far end unless told so, and the near one has more to send than any kernel takes.
struct Backlog {
  UvLoop loop;
  TcpPair pair{loop};
  tunnel::uv::TcpProgress progress;

  Backlog() {
    pair.far.connection->pause_reading();
    pair.near.connection->write(ByteBuffer(std::size_t{32} << 20, 7));
    settle();
    static_cast<void>(progress.note(*pair.near.connection));
  }
  void settle() {
    static_cast<void>(loop.run_until([] { return false; }, 50));
  }
  void read(std::size_t octets) {
    const std::size_t before = pair.far.bytes.size();
    pair.far.connection->resume_reading();
    REQUIRE(loop.run_until([&] { return pair.far.bytes.size() >= before + octets; }));
    pair.far.connection->pause_reading();
    settle();
  }
  [[nodiscard]] bool moved() { return progress.note(*pair.near.connection); }
};

}  // namespace

TEST_CASE("tcp progress: a peer that reads slowly is told from one that takes nothing", "[integration][tcp]") {
  Backlog backlog;
  REQUIRE(backlog.pair.near.connection->write_queue_bytes() > 0);
  CHECK_FALSE(backlog.moved());
  for (int i = 0; i < 3; ++i) {
    backlog.read(1 << 20);
    CHECK(backlog.moved());
    CHECK_FALSE(backlog.moved());
  }
  backlog.settle();
  CHECK_FALSE(backlog.moved());
}

TEST_CASE("tcp progress: the last of what waited counts, and what is acknowledged at once does not",
          "[integration][tcp]") {
  Backlog backlog;
  backlog.pair.far.connection->resume_reading();
  REQUIRE(backlog.loop.run_until([&] { return backlog.pair.far.bytes.size() == std::size_t{32} << 20; }, 10'000));
  backlog.settle();
  CHECK(backlog.moved());
  CHECK_FALSE(backlog.moved());

  // As a PING does: a kernel acknowledges it for a program that hangs.
  backlog.pair.near.connection->write(ByteBuffer(17, 1));
  backlog.settle();
  CHECK_FALSE(backlog.moved());
}

TEST_CASE("tcp progress: a connection that is gone makes none", "[integration][tcp]") {
  Backlog backlog;
  backlog.read(1 << 20);
  backlog.pair.near.connection->abort();
  CHECK_FALSE(backlog.moved());
}
