// SPDX-License-Identifier: Apache-2.0
// The input chooses what happens to two punch agents: packets delivered, lost, copied,
// bent or sent from elsewhere, time that passes, candidates, paths, sessions that end.
// Whatever happens: no crash, caps kept, and deadlines that move on.

#include <cstdlib>
#include <deque>

#include <natt/punch_agent.h>

#include "support/seeded_random.h"

using namespace natt;

namespace {

const SocketAddress kA{IpAddress::v4({203, 0, 113, 1}), 4000};
const SocketAddress kB{IpAddress::v4({203, 0, 113, 2}), 4000};
constexpr PunchSessionId kId{1};

struct World {
  World() : random(1), a({}, random), b({}, random) {
    const PunchCredential of_a = make_punch_credential(random);
    const PunchCredential of_b = make_punch_credential(random);
    const PeerVouch vouch{{kA.ip, kB.ip}, {}};
    const StunTransactionKey key;
    open(a, {kId, PunchRole::kControlling, of_a, of_b, key, {}, vouch});
    open(b, {kId, PunchRole::kControlled, of_b, of_a, key, {}, vouch});
  }
  static void open(PunchAgent& agent, const PunchSession& session) {
    if (!agent.add_session({}, session)) std::abort();
  }
  void collect(PunchAgent& agent, const SocketAddress& from) {
    while (auto packet = agent.poll_transmit()) wire.emplace_back(from, std::move(*packet));
    while (agent.poll_event()) {
    }
  }
  void collect() {
    collect(a, kA);
    collect(b, kB);
    while (wire.size() > 64) wire.pop_front();
  }
  void deliver(const SocketAddress& from, const Transmit& packet) {
    PunchAgent& to = from == kA ? b : a;
    static_cast<void>(to.handle_datagram(now, from, packet.to.ip, packet.bytes));
  }
  void pass(Duration duration) {
    now += duration;
    for (PunchAgent* agent : {&a, &b}) {
      for (int turns = 0; agent->next_deadline() && *agent->next_deadline() <= now; ++turns) {
        agent->handle_timeout(now);
        if (turns > 8) std::abort();  // a deadline that does not move is a busy loop
      }
    }
  }
  void step(std::uint8_t operation, std::uint8_t argument);
  void act(PunchAgent& agent, const PunchPath& path, std::uint8_t argument);

  test::SeededRandom random;
  PunchAgent a;
  PunchAgent b;
  Instant now{};
  std::deque<std::pair<SocketAddress, Transmit>> wire;
};

void World::act(PunchAgent& agent, const PunchPath& path, std::uint8_t argument) {
  switch (argument % 8) {
    case 0: return agent.use_path(now, path);
    case 1: return agent.release_path(now, path);
    case 2: return agent.note_sent(now, path);
    case 3: return agent.note_received(now, path);
    case 4: return agent.probe_path(now, path);
    case 5: return agent.restart(now, kId);
    case 6: return agent.set_vouch(now, kId, {});
    default: return agent.remove_session(kId);
  }
}

void World::step(std::uint8_t operation, std::uint8_t argument) {
  PunchAgent& agent = (argument & 0x80) != 0 ? b : a;
  const SocketAddress& peer = (argument & 0x80) != 0 ? kA : kB;
  if (operation < 5 && wire.empty()) return pass(std::chrono::milliseconds(argument));
  switch (operation) {
    case 0: deliver(wire.front().first, wire.front().second); break;
    case 1: break;                                                    // lost
    case 2: return deliver(wire.front().first, wire.front().second);  // and again later
    case 3:
      wire.front().second.bytes[argument % wire.front().second.bytes.size()] ^= 1;
      deliver(wire.front().first, wire.front().second);
      break;
    case 4: deliver({wire.front().first.ip, argument}, wire.front().second); break;
    case 5: return pass(std::chrono::milliseconds(1) * argument * argument);
    case 6: return static_cast<void>(agent.add_remote_candidate(now, kId, {peer, CandidateType::kServerReflexive, {}}));
    default: return act(agent, {kId, peer}, argument & 0x7f);
  }
  wire.pop_front();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  for (std::size_t i = 0; i + 1 < size && i < 512; i += 2) {
    world.step(data[i] % 8, data[i + 1]);
    world.collect();
  }
  return 0;
}
