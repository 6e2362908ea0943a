// SPDX-License-Identifier: Apache-2.0
// STUN and connectivity checks: what a packet costs, a stranger's above all. The
// refusal paths must not allocate; the bench fails when they do.

#include <array>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

#include <natt/punch_agent.h>
#include <natt/stun_builder.h>
#include <natt/stun_client.h>
#include <natt/stun_server.h>

#include "bench/harness.h"

namespace {
std::uint64_t allocations = 0;
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

using namespace natt;

namespace {

constexpr std::uint64_t kOperations = 200000;
constexpr WallTime kWall{std::chrono::milliseconds(1'800'000'000'000)};
const SocketAddress kBroker{IpAddress::v4({198, 51, 100, 10}), 443};
const SocketAddress kDevice{IpAddress::v4({203, 0, 113, 5}), 51000};
bool failed = false;

template <typename Body>
void run(const char* name, bool may_allocate, Body&& body) {
  const std::uint64_t before = allocations;
  body();
  const std::uint64_t each = allocations - before;
  bench::run(name, kOperations, [&] {
    for (std::uint64_t i = 0; i < kOperations; ++i) body();
  });
  if (may_allocate || each == 0) return;
  std::printf("%s allocates\n", name);
  failed = true;
}

ByteBuffer request_of(const StunCredential& credential, Random& random) {
  auto client = StunClient::make({.server = kBroker, .credential = credential}, random);
  (*client)->start({}, kWall);
  return (*client)->poll_transmit()->bytes;
}

void bench_server(Random& random) {
  StunTransactionKey key;
  random.fill(key.mutable_view());
  StunServer server({.transaction_key = key, .requests_per_second = 2'000'000'000});
  const StunCredential credential = make_stun_credential(key, random);
  static_cast<void>(server.add_credential({"hq", Role::kClient, "alice"}, credential));
  const ByteBuffer request = request_of(credential, random);
  ByteBuffer bad_tag = request;
  bad_tag[19] ^= 1;
  ByteBuffer bad_seal = request;
  bad_seal[30] ^= 1;
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  const auto ask = [&](ByteView bytes) {
    bench::keep(server.handle_datagram({}, kWall, kDevice, kBroker, bytes, out));
  };

  const ByteBuffer noise(96, 0x41);
  run("stun_parse", false, [&] { bench::keep(StunMessage::parse(request)); });
  run("stun_server_refuse_noise", false, [&] { ask(noise); });
  run("stun_server_refuse_bad_tag", false, [&] { ask(bad_tag); });
  run("stun_server_refuse_unknown_user", false, [&] { ask(bad_seal); });
  run("stun_server_answer", true, [&] { ask(request); });
}

PunchSession gateway_session(std::uint32_t number, Random& random) {
  PunchSession session{.id = {number}, .role = PunchRole::kControlled};
  session.local = make_punch_credential(random);
  session.remote = make_punch_credential(random);
  return session;
}

void bench_agent(Random& random) {
  PunchAgent agent({}, random);
  std::string ufrag;
  for (std::uint32_t i = 1; i <= 10000; ++i) {
    const PunchSession session = gateway_session(i, random);
    ufrag = session.local.ufrag + ":" + session.remote->ufrag;
    static_cast<void>(agent.add_session({}, session));
  }
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  const auto check = [&](const StunTransactionKey& key, std::string_view username) {
    StunBuilder builder(out, StunClass::kRequest, kStunBinding, make_transaction_id(key, random));
    builder.add_text(StunAttribute::kUsername, username);
    builder.add_number64(StunAttribute::kIceControlling, 1);
    builder.add_integrity_sha256(out);
    builder.add_fingerprint();
    const auto bytes = *builder.finish();
    return ByteBuffer(bytes.begin(), bytes.end());
  };
  StunTransactionKey other;
  other.data()[0] = 1;
  const ByteBuffer unknown_user = check({}, "nobody12:nobody34");
  const ByteBuffer bad_tag = check(other, ufrag);
  const ByteBuffer forged = check({}, ufrag);
  const auto ask = [&](ByteView bytes) { bench::keep(agent.handle_datagram({}, kDevice, kBroker.ip, bytes)); };

  run("punch_refuse_unknown_user_10k", false, [&] { ask(unknown_user); });
  run("punch_refuse_bad_tag_10k", false, [&] { ask(bad_tag); });
  run("punch_refuse_forged_10k", false, [&] { ask(forged); });
}

}  // namespace

int main() {
  SystemRandom random;
  bench_server(random);
  bench_agent(random);
  return failed ? 1 : 0;
}
