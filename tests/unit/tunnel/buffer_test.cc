// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include <deque>

#include <natt/tunnel/packet_batch.h>

#include "libtunnel/src/http/byte_queue.h"
#include "libtunnel/src/masque/datagram_queue.h"
#include "libtunnel/src/quic/held_initials.h"
#include "support/seeded_random.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::tunnel;
using natt::test::SeededRandom;
using natt::test::test_seed;

TEST_CASE("byte queue: what goes in comes out in order, whatever the pieces", "[tunnel][buffer]") {
  SeededRandom random(test_seed());
  ChunkPool pool;
  ByteQueue queue(pool);
  std::deque<std::uint8_t> model;
  std::deque<std::uint8_t> unread;
  for (int step = 0; step < 3000; ++step) {
    const std::uint64_t choice = random.uniform(10);
    if (choice < 4) {
      ByteBuffer bytes(random.uniform(choice == 0 ? 50'000 : 300));
      random.fill(bytes);
      queue.append(bytes);
      model.insert(model.end(), bytes.begin(), bytes.end());
      unread.insert(unread.end(), bytes.begin(), bytes.end());
    } else if (choice < 7) {
      const ByteView ahead = queue.read_ahead();
      REQUIRE(ahead.empty() == unread.empty());
      REQUIRE(std::equal(ahead.begin(), ahead.end(), unread.begin()));
      unread.erase(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(ahead.size()));
    } else {
      // Only what was read ahead is ever acknowledged.
      const std::size_t count = random.uniform(model.size() - unread.size() + 1);
      const ByteView front = queue.front();
      REQUIRE(front.empty() == model.empty());
      REQUIRE(std::equal(front.begin(), front.end(), model.begin()));
      queue.pop(count);
      model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(count));
    }
    REQUIRE(queue.size() == model.size());
    REQUIRE(queue.unread() == unread.size());
  }
}

TEST_CASE("byte queue: octets never move until they are popped", "[tunnel][buffer]") {
  ChunkPool pool;
  ByteQueue queue(pool);
  queue.append(ByteBuffer(Chunk::kSize, 1));
  const std::uint8_t* const first = queue.front().data();
  queue.append(ByteBuffer(10 * Chunk::kSize, 2));
  CHECK(queue.front().data() == first);
  CHECK(queue.read_ahead().data() == first);
  queue.pop(Chunk::kSize - 1);
  CHECK(queue.front().size() == 1);
  CHECK(queue.front()[0] == 1);
  queue.pop(1000 * Chunk::kSize);  // more than there is
  CHECK(queue.empty());
  CHECK(queue.read_ahead().empty());
}

TEST_CASE("datagram queue: order, sizes and the bound hold over many wraps", "[tunnel][buffer]") {
  SeededRandom random(test_seed());
  DatagramQueue queue(10'000);
  std::deque<std::pair<StreamId, ByteBuffer>> model;
  std::size_t refused = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (random.uniform(2) == 0) {
      ByteBuffer bytes(random.uniform(1500));
      random.fill(bytes);
      const StreamId stream{{random.uniform(5)}, static_cast<std::int64_t>(random.uniform(100))};
      const std::size_t cut = bytes.empty() ? 0 : random.uniform(bytes.size());
      if (queue.push(stream, ByteView{bytes}.first(cut), ByteView{bytes}.subspan(cut))) {
        model.emplace_back(stream, bytes);
      } else {
        ++refused;
        REQUIRE(model.size() > 2);
      }
    } else {
      const auto front = queue.front();
      REQUIRE(front.has_value() == !model.empty());
      if (!front) continue;
      REQUIRE(front->stream == model.front().first);
      REQUIRE(std::equal(front->payload.begin(), front->payload.end(), model.front().second.begin(),
                         model.front().second.end()));
      queue.pop();
      model.pop_front();
    }
    REQUIRE(queue.empty() == model.empty());
  }
  CHECK(refused > 0);
}

TEST_CASE("datagram queue: one that never fits is refused, and pop on empty does nothing", "[tunnel][buffer]") {
  DatagramQueue queue(1000);
  queue.pop();
  CHECK_FALSE(queue.front());
  CHECK_FALSE(queue.push({}, ByteBuffer(1001)));
  CHECK(queue.push({}, ByteBuffer(900)));
  CHECK_FALSE(queue.push({}, ByteBuffer(100)));
  queue.pop();
  CHECK(queue.push({}, ByteBuffer(100)));
}

TEST_CASE("packet batch: slots are back to back and a short packet ends the burst", "[tunnel][buffer]") {
  const auto batch = std::make_unique<PacketBatch>();
  CHECK(batch->empty());
  CHECK(batch->bytes().empty());
  for (int i = 0; i < 3; ++i) {
    const MutableBytes slot = batch->next_slot(1200);
    REQUIRE(slot.size() == 1200);
    std::fill(slot.begin(), slot.end(), static_cast<std::uint8_t>(i));
    batch->push({7}, 1, i == 2 ? 100 : 1200);
  }
  CHECK(batch->next_slot(1200).empty());
  CHECK(batch->path() == PathId{7});
  CHECK(batch->ecn() == 1);
  CHECK(batch->count() == 3);
  CHECK(batch->bytes().size() == 2500);
  CHECK(batch->packet(2).size() == 100);
  CHECK(batch->packet(1)[0] == 1);
  CHECK(batch->packet(2).data() == batch->packet(1).data() + 1200);
}

TEST_CASE("packet batch: it ends at the kernel's limits", "[tunnel][buffer]") {
  const auto batch = std::make_unique<PacketBatch>();
  std::size_t count = 0;
  for (; !batch->next_slot(100).empty(); ++count) batch->push({1}, 0, 100);
  CHECK(count == PacketBatch::kMaxPackets);
  batch->clear();
  for (count = 0; !batch->next_slot(1436).empty(); ++count) batch->push({1}, 0, 1436);
  CHECK(count * 1436 <= PacketBatch::kCapacity);
  CHECK((count + 1) * 1436 > PacketBatch::kCapacity);
}

TEST_CASE("held initials: bounded per handshake and in all, and gone after their time", "[tunnel][buffer]") {
  HeldInitials held;
  const Instant now{100s};
  const ByteBuffer dcid(16, 1);
  for (std::size_t i = 0; i < HeldInitials::kMaxPerHandshake; ++i) CHECK(held.hold(now, dcid, {1}, 0, ByteBuffer(1200)));
  CHECK_FALSE(held.hold(now, dcid, {1}, 0, ByteBuffer(1200)));
  CHECK(held.take(now, ByteBuffer(16, 2)).empty());
  CHECK(held.take(now, dcid).size() == HeldInitials::kMaxPerHandshake);
  CHECK(held.take(now, dcid).empty());

  for (std::size_t i = 0; i < HeldInitials::kMaxPackets; ++i) {
    CHECK(held.hold(now, ByteBuffer(16, static_cast<std::uint8_t>(i)), {1}, 0, ByteBuffer(1200)));
  }
  CHECK_FALSE(held.hold(now, ByteBuffer(16, 200), {1}, 0, ByteBuffer(1200)));
  CHECK(held.hold(now + HeldInitials::kLifetime, ByteBuffer(16, 200), {1}, 0, ByteBuffer(1200)));
  CHECK(held.take(now + HeldInitials::kLifetime, ByteBuffer(16, 3)).empty());
}
