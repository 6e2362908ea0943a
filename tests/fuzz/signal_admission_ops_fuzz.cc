// SPDX-License-Identifier: Apache-2.0
// Structured: the input chooses operations on the door of a broker's TCP port, in virtual
// time: connections of two members and of strangers, whole flights, halves and noise, UDP
// knocks from two addresses, ends, timeouts, changes of the mode.
// Invariants: nobody is admitted without the own flight, in mode udp-tcp nobody whose
// device has not knocked from that address within ten seconds, no connection twice; the
// table keeps its bound, and with time it empties.
#include <array>
#include <cstdlib>
#include <map>

#include <natt/signal_admission.h>
#include <natt/spa/verifier_group.h>
#include <tests/unit/spa/spa_site.h>

using namespace natt;
using namespace natt::test;

namespace {

constexpr std::size_t kMaxPending = 8;
const std::array<SocketAddress, 2> kSources{*SocketAddress::parse("192.0.2.1:1000"),
                                            *SocketAddress::parse("192.0.2.2:1000")};

struct Connection {
  SocketAddress remote;
  std::optional<std::size_t> owner;  // of the flight, when it is a member's
  ByteBuffer flight;
  std::size_t fed = 0;
};

struct World : SpaSite {
  struct Member {
    Identity identity;
    std::unique_ptr<spa::Knocker> knocker;
    std::array<std::optional<Instant>, 2> knocked;  // by source
  };
  std::array<Member, 2> members;
  std::unique_ptr<spa::Verifier> judge = verifier();
  spa::VerifierGroup verifiers;
  AddressGrants grants;
  SignalAdmission admission{{.max_pending = kMaxPending}, verifiers, grants, random};
  std::map<ChannelId, Connection> connections;
  std::uint64_t next = 1;
  bool wants_knock = false;

  World() {
    for (std::size_t i = 0; i < members.size(); ++i) {
      members[i].identity = device_named("m" + std::to_string(i));
      const auto keys = spa::KeyPair::generate(random);
      const spa::DeviceKey listed{1, keys.public_key()};
      if (!judge->put_device(members[i].identity, {&listed, 1})) std::abort();
      members[i].knocker = knocker(members[i].identity, keys);
    }
    judge->handle_timeout(now, wall);
    verifiers.add(*judge);
  }

  void connect(std::size_t who, std::size_t from) {
    Connection made{.remote = kSources[from], .owner = {}, .flight = ByteBuffer(300, 0x16)};
    if (who < members.size()) {
      // A handshake record of 50 octets: what TLS makes of it is not the door's business.
      ByteBuffer record(55, 0x16);
      store_be(&record[1], std::uint16_t{0x0301});
      store_be(&record[3], std::uint16_t{50});
      made.owner = who;
      made.flight = members[who].knocker->make_tcp_hello(wall, members[who].knocker->next_knock_id(), record);
      made.flight.insert(made.flight.end(), record.begin(), record.end());
    }
    const ChannelId id{next++};
    if (admission.handle_accepted(now, id, made.remote)) connections.emplace(id, std::move(made));
  }

  void feed(std::size_t which, std::size_t octets, bool noise) {
    const auto at = pick(which);
    if (at == connections.end()) return;
    Connection& connection = at->second;
    const std::size_t taken = std::min(octets, connection.flight.size() - connection.fed);
    if (noise && taken > 0) {
      connection.flight[connection.fed] ^= 0x40;
      connection.owner.reset();  // whatever it opens now is a forgery, unless nobody looks at that octet
    }
    admission.handle_bytes(now, wall, at->first, ByteView(connection.flight).subspan(connection.fed, taken));
    connection.fed += taken;
  }

  void knock(std::size_t who, std::size_t from) {
    Member& member = members[who];
    const auto frame = parse_udp_carrier(member.knocker->make_udp_knock(wall, member.knocker->next_knock_id()));
    const auto grant = judge->verify(now, wall, Transport::kUdp, *frame, {.port = kPort, .source = kSources[from].ip});
    if (!grant) return;  // over its budget
    member.knocked[from] = now;
    grants.on_knock(now, *grant, kSources[from]);
    admission.handle_knock(now, grant->device, kSources[from].ip);
  }

  std::map<ChannelId, Connection>::iterator pick(std::size_t which) {
    if (connections.empty()) return connections.end();
    return std::next(connections.begin(), static_cast<std::ptrdiff_t>(which % connections.size()));
  }

  void drain() {
    while (const auto event = admission.poll_event()) {
      if (const auto* admitted = std::get_if<Admitted>(&*event)) check(*admitted);
      if (const auto* closed = std::get_if<CloseConnection>(&*event)) {
        if (connections.erase(closed->channel) != 1) std::abort();
      }
    }
    const SignalAdmissionStats stats = admission.stats();
    if (stats.pending > kMaxPending || stats.pending != connections.size()) std::abort();
  }

  void check(const Admitted& admitted) {
    const auto at = connections.find(admitted.channel);
    if (at == connections.end() || at->second.remote != admitted.remote) std::abort();
    const bool own = at->second.owner && members[*at->second.owner].identity == admitted.identity;
    // Record 1 has octets behind the frame that nobody looks at: a flight may have been damaged there.
    if (!own && at->second.owner) std::abort();
    const std::size_t who = admitted.identity == members[0].identity ? 0 : 1;
    const auto& knocked = members[who].knocked[admitted.remote == kSources[0] ? 0 : 1];
    if (wants_knock && (!knocked || now - *knocked >= std::chrono::seconds(10))) std::abort();
    connections.erase(at);
  }

  void pass(Duration by) {
    advance(by);
    judge->handle_timeout(now, wall);
    admission.handle_timeout(now);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  const std::size_t operations = std::min<std::size_t>(size / 2, 400);
  for (std::size_t at = 0; at < operations; ++at) {
    const std::size_t what = data[2 * at];
    const std::size_t argument = data[2 * at + 1];
    switch (what % 8) {
      case 0: world.connect(argument % 3, argument / 3 % 2); break;
      case 1: world.feed(argument, 1000, false); break;
      case 2: world.feed(argument, 1 + what / 8, false); break;
      case 3: world.feed(argument, 1 + what / 8, true); break;
      case 4: world.knock(argument % 2, argument / 2 % 2); break;
      case 5: world.pass(std::chrono::milliseconds(50 * argument)); break;
      case 6:
        world.wants_knock = argument % 2 == 1;
        world.admission.set_wants_knock(world.now, world.wants_knock);
        break;
      case 7:
        if (const auto leaving = world.pick(argument); leaving != world.connections.end()) {
          world.admission.handle_disconnected(leaving->first);
          world.connections.erase(leaving);
        }
        break;
    }
    world.drain();
  }
  for (int i = 0; i < 4; ++i) {
    world.pass(std::chrono::seconds(91));
    world.drain();
  }
  if (world.admission.next_deadline() || !world.connections.empty()) std::abort();
  return 0;
}
