// SPDX-License-Identifier: Apache-2.0
#pragma once

// The frames of one slot that were accepted, exactly: once in, never forgotten before
// the slot is over. Holds 64-bit fingerprints under a key that only this process
// knows, so two frames are taken for one with a chance of 2^-64 per pair, and nobody
// can look for such a pair. Bounded; full means refuse, never forget.

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace natt::spa {

class ReplaySet {
 public:
  // Fingerprints held before it is full.
  [[nodiscard]] std::size_t limit() const { return capacity_ / 4 * 3; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // Room for at least `count`; what is in stays in. Never shrinks.
  void reserve(std::size_t count);
  // Gives the memory back to the system: an idle site holds none.
  void clear();

  void prefetch(std::uint64_t fingerprint) const { __builtin_prefetch(&buckets_[fingerprint & (capacity_ - 1)]); }
  [[nodiscard]] bool contains(std::uint64_t fingerprint) const;
  // False when full. The fingerprint must not be in yet.
  [[nodiscard]] bool insert(std::uint64_t fingerprint);

 private:
  struct Free {
    void operator()(std::uint64_t* memory) const { std::free(memory); }
  };
  using Buckets = std::unique_ptr<std::uint64_t[], Free>;

  [[nodiscard]] static Buckets allocate(std::size_t capacity);
  void place(std::uint64_t fingerprint);

  std::size_t capacity_ = 0;  // a power of two
  std::size_t size_ = 0;
  Buckets buckets_;
};

}  // namespace natt::spa
