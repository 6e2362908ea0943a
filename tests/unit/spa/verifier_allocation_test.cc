// SPDX-License-Identifier: Apache-2.0
// The packet path of the verifier allocates nothing, whatever arrives. A program of its
// own, because it replaces operator new.
#include <cstdlib>
#include <new>

#include <catch2/catch_test_macros.hpp>

#include "journal_folder.h"
#include "spa_site.h"

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

using namespace natt;

TEST_CASE("spa verifier: no frame, good or bad, makes it allocate", "[spa][allocation]") {
  test::OneClientSite site;
  site.alice_knocker->set_public_address(site.source);
  const ByteBuffer datagram = site.fresh_knock();
  const ByteBuffer dcid(8, 1);
  const spa::Frame token = site.alice_knocker->make_quic_token(site.wall, spa::KnockId{9}, dcid, {});
  spa::Frame wrong_p = token;
  wrong_p[63] ^= 1;
  const SocketAddress from{site.source, 1};
  std::size_t granted = 0;

  const std::size_t before = allocations;
  for (int i = 0; i < 3; ++i) {
    granted += site.knock(*site.broker_verifier, datagram).has_value();
    const spa::QuicInitial initial{spa::kQuicVersion1, dcid, {}, token};
    granted += site.broker_verifier->verify_initial(site.now, site.wall, initial, from).has_value();
    granted += site.broker_verifier->plausible(spa::Transport::kQuicToken, wrong_p);
  }
  const std::size_t during = allocations - before;

  CHECK(granted == 4);
  CHECK(during == 0);
}

TEST_CASE("spa mapped journal: neither a record nor a new slot makes it allocate", "[spa][allocation]") {
  test::JournalFolder folder;
  const auto journal = folder.open();
  spa::ReplayRecord record{spa::Slot::of(folder.clock.time.wall), {}};
  bool taken = true;

  const std::size_t before = allocations;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    record.slot.number += i % 100 == 0 ? 1 : 0;
    folder.clock.pass(std::chrono::milliseconds(10));
    taken = journal->append(record) && taken;
  }

  CHECK(allocations == before);
  CHECK(taken);
}

TEST_CASE("spa verifier: a million pieces of garbage leave no trace", "[spa][allocation]") {
  test::OneClientSite site;
  spa::Frame frame{};
  std::size_t granted = 0;

  const std::size_t before = allocations;
  for (int i = 0; i < 1'000'000; ++i) {
    if (i % 4096 == 0) site.random.fill(frame);
    store_be(frame.data(), static_cast<std::uint32_t>(i));
    granted +=
        site.broker_verifier->verify(site.now, site.wall, spa::Transport::kUdp, frame, {.port = 443}).has_value();
  }

  CHECK(allocations == before);
  CHECK(granted == 0);
  CHECK(site.dropped(spa::DropReason::kUnknownHint) == 1'000'000);
}
