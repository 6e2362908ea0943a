// SPDX-License-Identifier: Apache-2.0
#pragma once

// The request streams of one connection and the list of those that have something to tell.
// Bounded by the streams QUIC lets the two sides open. Resource type.

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>

#include "src/http/stream.h"

namespace natt::tunnel {

class StreamTable {
 public:
  StreamTable(ConnectionId connection, ChunkPool& pool) : connection_(connection), pool_(pool) {}
  StreamTable(const StreamTable&) = delete;
  StreamTable& operator=(const StreamTable&) = delete;

  Stream& add(std::int64_t number, Protocol protocol, Stream::State state);
  // Null for unknown ones. Valid until remove().
  [[nodiscard]] Stream* find(std::int64_t number) const;
  void remove(std::int64_t number) { streams_.erase(number); }
  [[nodiscard]] std::size_t size() const { return streams_.size(); }

  // The stream may have something to tell; it will be asked.
  void list(Stream& stream);
  [[nodiscard]] bool has_listed() const { return !listed_.empty(); }
  // The oldest listed stream that still exists; null when there is none.
  [[nodiscard]] Stream* first_listed();
  // It had nothing (more) to tell.
  void unlist_first();

 private:
  ConnectionId connection_;
  ChunkPool& pool_;
  std::unordered_map<std::int64_t, std::unique_ptr<Stream>> streams_;
  std::deque<std::int64_t> listed_;
};

}  // namespace natt::tunnel
