// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which real path stands behind a PathId. The tunnel knows paths only as opaque
// numbers; this table turns (socket, remote address) or a relay leg into one and
// back. A different real remote is always a different PathId, and a PathId is never
// used twice, so whatever QUIC concludes from a change of path holds for the real
// addresses too.
//
// Nothing a stranger sends may create a path: create one only for a packet that is
// otherwise acceptable (a known connection ID, or an Initial with a valid SPA frame).
// The table is bounded: when it is full, the path unused for longest that nobody
// has pinned makes room. Value-like owner, not thread-safe; find() does not allocate.

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/path_id.h>
#include <natt/random.h>

namespace natt {

// Chosen by whoever owns the legs; stays the same when the leg is bound anew at its
// relay (the id on the wire does not). 0 names none.
struct RelayLegHandle {
  std::uint64_t value = 0;
  friend auto operator<=>(const RelayLegHandle&, const RelayLegHandle&) = default;
};

// A real path. What makes two routes the same: socket and remote, or the leg.
struct Route {
  // Direct: where packets go. With a relay leg: unspecified.
  SocketAddress remote;
  // Our address the peer talks to; not part of the identity. Unspecified lets the kernel choose.
  IpAddress local;
  // Which of our sockets, where there are several (a birthday search has hundreds).
  std::uint32_t socket = 0;
  RelayLegHandle leg;

  [[nodiscard]] bool relayed() const { return leg.value != 0; }
  [[nodiscard]] static Route direct(const SocketAddress& remote, const IpAddress& local = {},
                                    std::uint32_t socket = 0) {
    return {remote, local, socket, {}};
  }
  [[nodiscard]] static Route relay(RelayLegHandle leg) { return {{}, {}, 0, leg}; }
};

class PathTable {
 public:
  struct Options {
    // A connection pins a handful; the rest is room for packets of peers that come and go.
    std::size_t maximum_paths = 65536;
  };

  struct Stats {
    std::uint64_t created = 0;
    std::uint64_t evicted = 0;
    std::uint64_t refused = 0;  // full, and everything pinned
  };

  // `random` is used during construction only: it seeds the hash, which peers must not be able to predict.
  PathTable(const Options& options, Random& random);

  // The path of a received packet, which counts as use. Does not allocate.
  [[nodiscard]] std::optional<PathId> find(const Route& route);
  // find(), or a new path. Absent when the table is full of pinned paths.
  [[nodiscard]] std::optional<PathId> find_or_create(const Route& route);
  // Null when there is no such path (any more). Valid until the table changes.
  [[nodiscard]] const Route* route(PathId path) const;

  // A pinned path keeps its PathId until it was unpinned as often. Ignored for unknown paths.
  void pin(PathId path);
  void unpin(PathId path);
  // Where replies leave from; call it for authenticated packets only.
  void set_local(PathId path, const IpAddress& local);
  // At once, pinned or not; its number is not used again.
  void remove(PathId path);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  static constexpr std::uint32_t kNone = 0xffffffff;
  struct Entry {
    Route route;
    PathId id;
    std::uint32_t pins = 0;
    std::uint32_t next_in_bucket = kNone;
    // Doubly linked through unpinned entries, longest unused first; a free entry uses `newer` as its free list.
    std::uint32_t older = kNone;
    std::uint32_t newer = kNone;
  };

  [[nodiscard]] std::size_t bucket_of(const Route& route) const;
  [[nodiscard]] std::uint32_t index_of(const Route& route) const;
  [[nodiscard]] std::uint32_t index_of(PathId path) const;
  [[nodiscard]] std::uint32_t take_entry();
  void release_entry(std::uint32_t index);
  void link_newest(std::uint32_t index);
  void unlink(std::uint32_t index);
  void unlink_from_bucket(std::uint32_t index);
  void grow_buckets();

  Options options_;
  std::array<std::uint64_t, 2> hash_key_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> buckets_;
  std::uint32_t free_ = kNone;
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::uint64_t next_serial_ = 1;
  std::size_t size_ = 0;
  Stats stats_;
};

}  // namespace natt
