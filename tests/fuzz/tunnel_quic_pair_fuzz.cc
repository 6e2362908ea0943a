// SPDX-License-Identifier: Apache-2.0
// Structured: the input chooses what a client and a gateway do to their streams, what the wire
// does to packets and when paths change. Whatever happens, received bytes are a prefix of sent
// ones, and neither end breaks.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;
using tunnel::StreamId;

namespace {

constexpr std::size_t kMaxOperations = 200;

class Pair {
 public:
  Pair() : fixture_(1), client_(fixture_.add_client()) {
    fixture_.echoes = true;
    fixture_.packets().tap = [this](bool, PathId, ByteBuffer& bytes) { return meddle(bytes); };
    if (!fixture_.connect(client_)) std::abort();
  }

  void act(std::uint8_t operation, std::uint8_t argument) {
    const StreamId stream = pick(argument);
    switch (operation % 12) {
      case 0: open(argument); break;
      case 1: write(stream, std::size_t{argument} * 97); break;
      case 2: client_.core->shutdown_write(stream); break;
      case 3: client_.core->reset(stream, argument); break;
      case 4: reset_at_server(argument); break;
      case 5: drop_ = argument % 8; break;
      case 6: damage_ = argument % 4; break;
      case 7: migrate(argument); break;
      case 8: client_.reads = argument % 2 == 0; break;
      case 9: fixture_.accepts = argument % 2 == 0; break;
      case 10: static_cast<void>(client_.core->send_datagram(stream, pattern(argument, 1))); break;
      case 11: inject(argument); break;
    }
    fixture_.wire->run_for(std::chrono::milliseconds(argument));
    check();
  }

 private:
  bool meddle(ByteBuffer& bytes) {
    if (drop_ > 0) {
      --drop_;
      return false;
    }
    if (damage_ > 0) {
      --damage_;
      bytes[bytes.size() / 2] ^= 1;
    }
    return true;
  }
  StreamId pick(std::uint8_t argument) const {
    return opened_.empty() ? StreamId{} : opened_[argument % opened_.size()];
  }
  void open(std::uint8_t argument) {
    const auto stream = argument % 3 == 0   ? client_.core->open_tcp(target("10.0.0.1:1"))
                        : argument % 3 == 1 ? client_.core->open_udp(target("[2001:db8::1]:53"))
                                            : client_.core->open_ip();
    if (stream) opened_.push_back(*stream);
  }
  void write(StreamId stream, std::size_t size) {
    ByteBuffer& sent = sent_[stream.number];
    const ByteBuffer bytes = pattern(size, sent.size());
    const std::size_t count = client_.core->write(stream, bytes);
    sent.insert(sent.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
  }
  void reset_at_server(std::uint8_t argument) {
    if (!fixture_.requests.empty()) fixture_.server->reset(fixture_.requests[argument % fixture_.requests.size()].stream, 0x10c);
  }
  void migrate(std::uint8_t argument) {
    const PathId path = fixture_.new_path(client_, {.latency = 1ms, .black = argument % 5 == 0});
    const auto kind = argument % 2 == 0 ? tunnel::MigrationKind::kUpgrade : tunnel::MigrationKind::kFailover;
    static_cast<void>(client_.quic().migrate(fixture_.wire->now(), path, kind));
  }
  void inject(std::uint8_t argument) {
    ByteBuffer bytes = pattern(argument, argument);
    fixture_.packets().inject_to_client(client_.quic().current_path(), bytes);
    fixture_.packets().inject_to_server(client_.quic().current_path(), std::move(bytes));
  }
  static void check_prefix(const ByteBuffer& part, const ByteBuffer& whole) {
    if (part.size() > whole.size() || !std::equal(part.begin(), part.end(), whole.begin())) std::abort();
  }
  void check() {
    for (const auto& [stream, record] : fixture_.streams) check_prefix(record.bytes, sent_[stream.number]);
    for (const auto& [number, record] : client_.streams) check_prefix(record.bytes, sent_[number]);
  }

  TunnelFixture fixture_;
  ClientSide& client_;
  std::vector<StreamId> opened_;
  std::map<std::int64_t, ByteBuffer> sent_;
  int drop_ = 0;
  int damage_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Pair pair;
  const std::size_t operations = std::min(size / 2, kMaxOperations);
  for (std::size_t i = 0; i < operations; ++i) pair.act(data[2 * i], data[2 * i + 1]);
  return 0;
}
