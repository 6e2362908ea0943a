// SPDX-License-Identifier: Apache-2.0
#include "src/http/byte_queue.h"

#include <algorithm>
#include <utility>

namespace natt::tunnel {

ChunkPool::~ChunkPool() {
  while (free_) free_ = std::move(free_->next);  // one by one: a long list must not recurse
}

std::unique_ptr<Chunk> ChunkPool::take() {
  if (!free_) return std::unique_ptr<Chunk>(new Chunk);  // default-initialised: 16 KiB need no zeroes
  std::unique_ptr<Chunk> chunk = std::move(free_);
  free_ = std::move(chunk->next);
  --free_count_;
  return chunk;
}

void ChunkPool::give(std::unique_ptr<Chunk> chunk) {
  if (free_count_ == kMaxFree) return;
  chunk->next = std::move(free_);
  free_ = std::move(chunk);
  ++free_count_;
}

MutableBytes ByteQueue::tail_space() {
  if (tail_ == nullptr || tail_used_ == Chunk::kSize) {
    std::unique_ptr<Chunk> chunk = pool_.take();
    Chunk* const added = chunk.get();
    (tail_ == nullptr ? head_ : tail_->next) = std::move(chunk);
    tail_ = added;
    tail_used_ = 0;
  }
  return MutableBytes{tail_->bytes}.subspan(tail_used_);
}

void ByteQueue::commit(std::size_t count) {
  tail_used_ += count;
  size_ += count;
  unread_ += count;
}

void ByteQueue::append(ByteView bytes) {
  while (!bytes.empty()) {
    const MutableBytes room = tail_space();
    const std::size_t count = std::min(room.size(), bytes.size());
    std::copy_n(bytes.begin(), count, room.begin());
    commit(count);
    bytes = bytes.subspan(count);
  }
}

ByteView ByteQueue::front() const {
  if (size_ == 0) return {};
  const std::size_t end = head_.get() == tail_ ? tail_used_ : Chunk::kSize;
  return ByteView{head_->bytes}.subspan(head_offset_, end - head_offset_);
}

void ByteQueue::pop(std::size_t count) {
  count = std::min(count, size_);
  size_ -= count;
  unread_ = std::min(unread_, size_);
  if (size_ == 0) return clear();
  head_offset_ += count;
  while (head_offset_ >= Chunk::kSize) {
    std::unique_ptr<Chunk> done = std::move(head_);
    head_ = std::move(done->next);
    if (ahead_ == done.get()) {
      ahead_ = head_.get();
      ahead_offset_ = 0;
    }
    pool_.give(std::move(done));
    head_offset_ -= Chunk::kSize;
  }
}

void ByteQueue::clear() {
  while (head_) {
    std::unique_ptr<Chunk> done = std::move(head_);
    head_ = std::move(done->next);
    pool_.give(std::move(done));
  }
  tail_ = nullptr;
  ahead_ = nullptr;
  head_offset_ = tail_used_ = size_ = ahead_offset_ = unread_ = 0;
}

ByteView ByteQueue::read_ahead() {
  if (unread_ == 0) return {};
  if (ahead_ == nullptr) {
    ahead_ = head_.get();
    ahead_offset_ = head_offset_;
  } else if (ahead_offset_ == Chunk::kSize) {
    ahead_ = ahead_->next.get();
    ahead_offset_ = 0;
  }
  const std::size_t end = ahead_ == tail_ ? tail_used_ : Chunk::kSize;
  const ByteView bytes = ByteView{ahead_->bytes}.subspan(ahead_offset_, end - ahead_offset_);
  ahead_offset_ = end;
  unread_ -= bytes.size();
  return bytes;
}

}  // namespace natt::tunnel
