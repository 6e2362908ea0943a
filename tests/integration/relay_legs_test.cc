// SPDX-License-Identifier: Apache-2.0
// A gateway's legs of relayed sessions, until their clients come: real connections, and a
// relay that does as the test says.
#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>
#include <natt/uv/tcp_listener.h>

#include "integration/uv_loop.h"
#include "integration/watched_connection.h"
#include "src/uv/gateway/relay_legs.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;
using tunnel::uv::RelayLegs;

namespace {

const Identity kAlice{"hq", Role::kClient, "alice"};
const Identity kBob{"hq", Role::kClient, "bob"};

SessionId session(std::uint8_t number) { return {{number}}; }

struct World;

// Under way until the test says how it ended.
class HeldJoin final : public uv::RelayJoin, private uv::TcpConnection::Listener {
 public:
  HeldJoin(World& world, uv::RelayJoin::Listener& listener);
  ~HeldJoin() override;

 private:
  void on_connected(Instant now) override;
  void on_bytes(Instant, ByteView) override {}
  void on_eof(Instant) override {}
  void on_drained(Instant) override {}
  void on_closed(Instant, const Error&) override {}
  World& world_;
  uv::RelayJoin::Listener& listener_;
  std::unique_ptr<uv::TcpConnection> connection_;
};

// The broker is a listener; what it accepts are the relay's ends.
struct World final : uv::TcpListener::Listener, RelayLegs::Owner {
  UvLoop loop;
  std::unique_ptr<uv::TcpListener> broker;
  std::vector<std::unique_ptr<WatchedConnection>> ends;
  int joins = 0;    // under way
  int started = 0;  // ever
  struct Handed {
    SessionId session;
    Identity client;
    std::string first;
    std::unique_ptr<WatchedConnection> end;
  };
  std::vector<Handed> handed;
  std::unique_ptr<RelayLegs> legs;

  explicit World(RelayLegs::Options options = {}) {
    auto opened = uv::TcpListener::open(loop.get(), {.bind = *SocketAddress::parse("127.0.0.1:0")}, *this);
    REQUIRE(opened);
    broker = std::move(*opened);
    legs = std::make_unique<RelayLegs>(loop.get(), options, *this);
  }
  void join(std::uint8_t number, const Identity& client = kAlice, std::optional<SocketAddress> relay = {}) {
    const RelayGrantMessage grant{.session = session(number), .transport = RelayTransport::kTcp,
                                  .relay = relay ? *relay : broker->local_address(), .grant = {}};
    legs->join(uv::now(), client, grant,
               [this](uv::RelayJoin::Listener& listener) -> Result<std::unique_ptr<uv::RelayJoin>> {
                 return std::make_unique<HeldJoin>(*this, listener);
               });
  }
  // Until the relay has them all, and the gateway's ends wait.
  void wait_for_legs(std::size_t count) {
    REQUIRE(loop.run_until([&] { return ends.size() == count && joins == 0; }));
  }

 private:
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    ends.push_back(std::make_unique<WatchedConnection>(std::move(connection)));
  }
  void on_relay_leg(Instant, const SessionId& of, const Identity& client,
                    std::unique_ptr<uv::TcpConnection> connection, ByteView first) override {
    handed.push_back({of, client, std::string(as_text(first)), std::make_unique<WatchedConnection>(std::move(connection))});
  }
};

HeldJoin::HeldJoin(World& world, uv::RelayJoin::Listener& listener) : world_(world), listener_(listener) {
  ++world_.joins;
  ++world_.started;
  auto connection = uv::TcpConnection::connect(world_.loop.get(), {.to = world_.broker->local_address()}, *this);
  REQUIRE(connection);
  connection_ = std::move(*connection);
}
HeldJoin::~HeldJoin() { --world_.joins; }
void HeldJoin::on_connected(Instant now) { listener_.on_relay_joined(now, std::move(connection_)); }

}  // namespace

TEST_CASE("relay legs: a leg is handed over with the first octets of its client", "[integration][gateway]") {
  World world;
  world.join(1);
  CHECK(world.legs->size() == 1);
  world.wait_for_legs(1);
  CHECK(world.handed.empty());

  world.ends[0]->say("hello");

  REQUIRE(world.loop.run_until([&] { return !world.handed.empty(); }));
  CHECK(world.handed[0].session == session(1));
  CHECK(world.handed[0].client == kAlice);
  CHECK(world.handed[0].first == "hello");
  CHECK(world.legs->size() == 0);
  // What the session does from now on is no business of the legs.
  world.legs->cancel(session(1));
  CHECK_FALSE(world.loop.run_until([&] { return world.ends[0]->over(); }, 50));
}

TEST_CASE("relay legs: the end of a session ends its leg, joined or not", "[integration][gateway]") {
  World world;
  world.join(1);
  world.wait_for_legs(1);
  world.join(2);

  world.legs->cancel(session(1));
  world.legs->cancel(session(2));

  CHECK(world.legs->size() == 0);
  CHECK(world.joins == 0);
  CHECK(world.loop.run_until([&] { return world.ends[0]->over(); }));
}

TEST_CASE("relay legs: a newer grant starts a join anew, and leaves a leg that has joined", "[integration][gateway]") {
  World world;
  world.join(1);
  world.join(1);
  CHECK(world.joins == 1);
  CHECK(world.started == 2);
  world.wait_for_legs(2);

  world.join(1);
  // Its client knows the former grant only, and comes.
  CHECK(world.started == 2);
  CHECK(world.legs->size() == 1);
  world.ends.back()->say("hello");

  REQUIRE(world.loop.run_until([&] { return !world.handed.empty(); }));
  CHECK(world.handed[0].first == "hello");
}

TEST_CASE("relay legs: a newer grant gives a leg that has joined more time", "[integration][gateway]") {
  World world({.waiting_time = 300ms, .log = {}});
  world.join(1);
  world.wait_for_legs(1);
  CHECK_FALSE(world.loop.run_until([&] { return world.ends[0]->over(); }, 200));
  world.join(1);
  CHECK_FALSE(world.loop.run_until([&] { return world.ends[0]->over(); }, 200));
  CHECK(world.loop.run_until([&] { return world.ends[0]->over(); }));
}

TEST_CASE("relay legs: a leg at another relay takes the place of one that has joined", "[integration][gateway]") {
  World world;
  world.join(1);
  world.wait_for_legs(1);

  world.join(1, kAlice, *SocketAddress::parse("192.0.2.1:443"));

  CHECK(world.started == 2);
  CHECK(world.loop.run_until([&] { return world.ends[0]->over(); }));
}

TEST_CASE("relay legs: a client has so many joins, and keeps what it has", "[integration][gateway]") {
  World world({.joins = {.interval = 1h, .burst = 3}, .log = {}});
  world.join(1);
  world.wait_for_legs(1);
  world.join(2);
  world.join(2);
  CHECK(world.started == 3);

  world.join(2);
  world.join(3);

  CHECK(world.started == 3);
  CHECK(world.joins == 1);
  CHECK(world.legs->size() == 2);
  // Others have their own.
  world.join(4, kBob);
  CHECK(world.started == 4);
  CHECK(world.legs->size() == 3);
}

TEST_CASE("relay legs: a leg that nobody comes to is closed in time", "[integration][gateway]") {
  World world({.waiting_time = 100ms, .log = {}});
  world.join(1);
  world.wait_for_legs(1);

  CHECK(world.loop.run_until([&] { return world.ends[0]->over(); }));
  CHECK(world.legs->size() == 0);
  CHECK(world.handed.empty());
}

TEST_CASE("relay legs: the relay may end one without a word", "[integration][gateway]") {
  World world;
  world.join(1);
  world.wait_for_legs(1);

  world.ends[0]->hang_up();

  CHECK(world.loop.run_until([&] { return world.legs->size() == 0; }));
  CHECK(world.handed.empty());
}

TEST_CASE("relay legs: there are as many as they may be, and one refused leaves nothing", "[integration][gateway]") {
  World world({.max_legs = 2, .log = {}});
  world.join(1);
  world.join(2);
  world.join(3);
  CHECK(world.legs->size() == 2);
  CHECK(world.joins == 2);

  world.legs->join(uv::now(), kAlice,
                   {.session = session(2), .transport = RelayTransport::kTcp, .relay = {}, .grant = {}},
                   [](uv::RelayJoin::Listener&) -> Result<std::unique_ptr<uv::RelayJoin>> {
                     return fail(Errc::kUnavailable, "not an address of the broker");
                   });

  CHECK(world.legs->size() == 1);
}
