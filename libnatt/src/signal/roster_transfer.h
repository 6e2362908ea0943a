// SPDX-License-Identifier: Apache-2.0
#pragma once

// A signed roster document in pieces: cut on the broker's side as the send queue has
// room, put together on the other. Internal to libnatt.

#include <cstdint>
#include <optional>

#include <natt/roster_store.h>
#include <natt/signal_message.h>

namespace natt {

// The broker's side of one channel. Keeps a position, not a copy.
class RosterPush {
 public:
  // A piece leaves room in the queue for other messages.
  static constexpr std::size_t kChunkSize = 16 * 1024;

  // From the beginning of what the store holds now.
  void start() { active_ = true, offset_ = 0, number_ = 0; }
  [[nodiscard]] bool active() const { return active_; }
  // The next piece; nothing when all was cut. A newer roster in the store starts it over.
  [[nodiscard]] std::optional<RosterChunk> next_chunk(const RosterStore& store, RosterView view);

 private:
  bool active_ = false;
  std::size_t offset_ = 0;
  std::uint64_t number_ = 0;
};

struct RosterDocument {
  std::uint64_t number = 0;
  RosterView view = RosterView::kClient;
  ByteBuffer bytes;
};

// The other side. Holds at most one document of SignedRoster::kMaxDocumentSize.
class RosterAssembler {
 public:
  // The document when this piece completes it. kMalformed for a piece that does not continue what came before.
  [[nodiscard]] Result<std::optional<RosterDocument>> handle_chunk(RosterChunk chunk);

 private:
  RosterDocument document_;
  std::size_t total_ = 0;
};

}  // namespace natt
