// SPDX-License-Identifier: Apache-2.0
#pragma once

// A FIFO of octets in chunks that never move, so that HTTP/3 and QUIC can point into it until
// the peer has acknowledged them. An empty queue holds no chunk: a thousand idle streams cost
// nothing. Chunks come from a pool that the connections of one endpoint share. Resource types.

#include <array>
#include <cstddef>
#include <memory>

#include <natt/bytes.h>

namespace natt::tunnel {

struct Chunk {
  // 16 KiB: one GRO train of packets fills a few; less costs allocations, more wastes memory
  // on streams that carry a keystroke.
  static constexpr std::size_t kSize = 16 * 1024;
  std::unique_ptr<Chunk> next;
  std::array<std::uint8_t, kSize> bytes;  // left uninitialised: written before it is read
};

// Keeps up to kMaxFree unused chunks (4 MiB), so that steady traffic does not allocate.
class ChunkPool {
 public:
  static constexpr std::size_t kMaxFree = 256;
  ChunkPool() = default;
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  [[nodiscard]] std::unique_ptr<Chunk> take();
  void give(std::unique_ptr<Chunk> chunk);

 private:
  std::unique_ptr<Chunk> free_;
  std::size_t free_count_ = 0;
};

class ByteQueue {
 public:
  // The pool outlives the queue.
  explicit ByteQueue(ChunkPool& pool) : pool_(pool) {}
  ~ByteQueue() { clear(); }
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  // Contiguous room behind the last octet, never empty; commit() what was written there.
  [[nodiscard]] MutableBytes tail_space();
  void commit(std::size_t count);
  void append(ByteView bytes);

  // The first octets, contiguous.
  [[nodiscard]] ByteView front() const;
  void pop(std::size_t count);
  void clear();

  // Reads ahead without removing: the next octets that it did not return before, as far as
  // they are contiguous; empty at the end. They stay where they are until popped.
  [[nodiscard]] ByteView read_ahead();
  // Octets that read_ahead() has not returned.
  [[nodiscard]] std::size_t unread() const { return unread_; }

 private:
  ChunkPool& pool_;
  std::unique_ptr<Chunk> head_;
  Chunk* tail_ = nullptr;
  std::size_t head_offset_ = 0;
  std::size_t tail_used_ = 0;
  std::size_t size_ = 0;
  const Chunk* ahead_ = nullptr;  // null: nothing was read since the queue was empty
  std::size_t ahead_offset_ = 0;
  std::size_t unread_ = 0;
};

}  // namespace natt::tunnel
