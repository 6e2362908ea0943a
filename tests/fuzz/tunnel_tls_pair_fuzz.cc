// SPDX-License-Identifier: Apache-2.0
// Structured: the input chooses what clients and a gateway do to their streams over TLS, and how TCP cuts, delays, damages
// and ends what they say. Whatever happens, received bytes are a prefix of sent ones, all of them where a stream finished,
// and a tunnel that is over says nothing more.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;
using tunnel::StreamId;

namespace {

constexpr std::size_t kMaxOperations = 200;
constexpr std::size_t kMaxClients = 4;

void check(bool condition) {
  if (!condition) std::abort();
}

// A client, what was asked of it, and what it has said.
class Peer {
 public:
  explicit Peer(TunnelFixture& fixture) : fixture_(fixture), side_(fixture.add_client()) {
    link().tap = [this](bool, ByteBuffer& bytes) {
      if (damage_ > 0 && --damage_ == 0 && !bytes.empty()) bytes[bytes.size() / 2] ^= 1;
    };
    static_cast<void>(fixture.connect(side_));
  }

  void act(std::uint8_t operation, std::uint8_t argument) {
    const StreamId stream = opened_.empty() ? StreamId{} : opened_[argument % opened_.size()];
    switch (operation) {
      case 0: return open(argument);
      case 1: return write(stream, std::size_t{argument} * 997);
      case 2: return side_.core->shutdown_write(stream);
      case 3: return side_.core->reset(stream, argument);
      case 4: side_.reads = argument % 2 == 0 && !side_.closed; return;
      case 5: return static_cast<void>(side_.core->send_datagram(stream, pattern(argument, 1)));
      case 6: return side_.core->close(fixture_.wire->now(), "done");
      case 7: link().piece = std::size_t{1} + argument * std::size_t{argument}; return;
      case 8: link().latency = std::chrono::milliseconds(argument); return;
      case 9: link().stalled = argument % 2 == 1; return;
      case 10: damage_ = argument; return;
      default: return fixture_.tcp().cut(link());
    }
  }

  void check_bytes() {
    for (const auto& [number, record] : side_.streams) {
      check_prefix(record, sent_[number]);
      if (record.finished && record.status == 200) check(record.bytes.size() == sent_[number].size());
    }
    if (!link().connection) return;
    for (const auto& [stream, record] : fixture_.streams) {
      if (stream.connection != *link().connection) continue;
      check_prefix(record, sent_[stream.number]);
      if (record.finished) check(record.bytes.size() == sent_[stream.number].size());
    }
  }

  // Events, counted: none comes after the last one.
  void check_silence() {
    if (!side_.closed) return;
    side_.reads = false;  // taking what is left may tell where it ended
    std::size_t events = side_.streams.size();
    for (const auto& [number, record] : side_.streams) {
      events += record.capsules.size() + record.datagrams.size() + (record.finished ? 1U : 0U) + (record.reset ? 1U : 0U) +
                (record.closed ? 1U : 0U) + (record.writable ? 1U : 0U) + (record.status != 0 ? 1U : 0U);
    }
    check(!last_events_ || *last_events_ == events);
    last_events_ = events;
  }

 private:
  TcpWire::Link& link() { return fixture_.tcp().link(side_.over_tls()); }
  void open(std::uint8_t argument) {
    const auto stream = argument % 3 == 0   ? side_.core->open_tcp(target("10.0.0.1:1"))
                        : argument % 3 == 1 ? side_.core->open_udp(target("[2001:db8::1]:53"))
                                            : side_.core->open_ip();
    if (stream) opened_.push_back(*stream);
  }
  void write(StreamId stream, std::size_t size) {
    ByteBuffer& sent = sent_[stream.number];
    const ByteBuffer bytes = pattern(size, sent.size());
    const std::size_t count = side_.core->write(stream, bytes);
    sent.insert(sent.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
  }
  static void check_prefix(const StreamRecord& part, const ByteBuffer& whole) {
    check(part.bytes.size() <= whole.size() && std::equal(part.bytes.begin(), part.bytes.end(), whole.begin()));
  }

  TunnelFixture& fixture_;
  ClientSide& side_;
  std::vector<StreamId> opened_;
  std::map<std::int64_t, ByteBuffer> sent_;
  int damage_ = 0;
  std::optional<std::size_t> last_events_;
};

class Site {
 public:
  Site() : fixture_(1, {}, TunnelFixture::Kind::kTls) {
    fixture_.echoes = true;
    add();
  }

  void act(std::uint8_t operation, std::uint8_t argument) {
    switch (operation % 17) {
      case 12: add(); break;
      case 13: reset_at_server(argument); break;
      case 14: fixture_.accepts = argument % 2 == 0; break;
      case 15: fixture_.reads = argument % 2 == 0; break;
      case 16: end_at_server(argument); break;
      default: peers_[argument % peers_.size()]->act(operation % 17, argument); break;
    }
    run(std::chrono::milliseconds(argument));
  }

  // Everybody reads, nothing is held back, and in the end everybody goes.
  void finish() {
    for (const auto& peer : peers_) {
      peer->act(9, 0);
      peer->act(4, 0);
    }
    fixture_.reads = true;
    run(5s);
    for (const auto& peer : peers_) peer->act(6, 0);
    run(60s);
    check(fixture_.living() == 0);
  }

 private:
  void add() {
    if (peers_.size() < kMaxClients) peers_.push_back(std::make_unique<Peer>(fixture_));
  }
  void reset_at_server(std::uint8_t argument) {
    if (fixture_.requests.empty()) return;
    fixture_.server->reset(fixture_.requests[argument % fixture_.requests.size()].stream, 0x10c);
  }
  void end_at_server(std::uint8_t argument) {
    if (fixture_.connected.empty()) return;
    const auto id = fixture_.connected[argument % fixture_.connected.size()].connection;
    fixture_.server->close(fixture_.wire->now(), id, "revoked");
  }
  void run(Duration time) {
    fixture_.wire->flush();
    fixture_.wire->run_for(time);
    check_all();
  }
  void check_all() {
    for (const auto& peer : peers_) {
      peer->check_bytes();
      peer->check_silence();
    }
    std::set<tunnel::ConnectionId> gone;
    for (const auto& each : fixture_.disconnected) check(gone.insert(each.connection).second);
  }

  TunnelFixture fixture_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Site site;
  const std::size_t operations = std::min(size / 2, kMaxOperations);
  for (std::size_t i = 0; i < operations; ++i) site.act(data[2 * i], data[2 * i + 1]);
  site.finish();
  return 0;
}
