// SPDX-License-Identifier: Apache-2.0
#pragma once

// Grants given to QUIC Initials, so that a retransmission of an admitted Initial
// passes while a copy of it from another source is the replay that it is. Fixed size;
// the oldest of four makes room. A lost entry costs a retransmission, never a replay.

#include <array>
#include <cstdint>
#include <optional>

#include <natt/spa/frame.h>
#include <natt/time.h>

#include "zeroed_array.h"

namespace natt::spa {

class VerdictCache {
 public:
  // Initials per kVerdictLifetime before live entries are pushed out.
  static constexpr std::size_t kEntries = 16384;

  VerdictCache() : entries_(kEntries) {}

  // `key` is a keyed hash of device, nonce, connection IDs and source.
  [[nodiscard]] std::optional<FrameBody> find(Instant now, std::uint64_t key) const;
  void insert(std::uint64_t key, Instant expires, const FrameBody& body);

 private:
  static constexpr std::size_t kWays = 4;
  // All zero is an entry that has expired; the body is written with the rest.
  struct Entry {
    std::uint64_t key;
    Instant expires;
    FrameBody body;
  };

  [[nodiscard]] static std::size_t first_of(std::uint64_t key) { return (key % (kEntries / kWays)) * kWays; }

  ZeroedArray<Entry> entries_;
};

}  // namespace natt::spa
