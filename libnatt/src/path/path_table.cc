// SPDX-License-Identifier: Apache-2.0
#include <natt/path_table.h>

#include <algorithm>

namespace natt {
namespace {

// A PathId is serial * 2^kIndexBits + index: the index finds the entry, the serial makes each use of it another number
// (2^42 paths; a million new ones a second last 50 years).
constexpr unsigned kIndexBits = 22;
constexpr std::size_t kMaximumPaths = std::size_t{1} << kIndexBits;
constexpr std::size_t kFirstBuckets = 64;

bool same_route(const Route& a, const Route& b) {
  return a.remote == b.remote && a.socket == b.socket && a.leg == b.leg;
}

// 64 x 64 -> 128 bit multiply, folded: a keyed mixing step of a few cycles. Whoever cannot see the key cannot choose
// colliding addresses, and only accepted packets get here at all.
std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

PathTable::PathTable(const Options& options, Random& random)
    : options_(options), hash_key_{random.next_u64() | 1, random.next_u64() | 1}, buckets_(kFirstBuckets, kNone) {
  options_.maximum_paths = std::clamp<std::size_t>(options_.maximum_paths, 1, kMaximumPaths);
}

std::size_t PathTable::bucket_of(const Route& route) const {
  const auto* octets = route.remote.ip.octets().data();
  const std::uint64_t rest = std::uint64_t{route.remote.port} << 32 | route.socket;
  std::uint64_t hash = mix(load_be<std::uint64_t>(octets) ^ hash_key_[0], hash_key_[1]);
  hash = mix(load_be<std::uint64_t>(octets + 8) ^ hash, hash_key_[0] ^ 0x9e3779b97f4a7c15U);
  hash = mix(hash ^ rest, hash_key_[1] ^ route.leg.value);
  return hash & (buckets_.size() - 1);
}

std::uint32_t PathTable::index_of(const Route& route) const {
  std::uint32_t index = buckets_[bucket_of(route)];
  while (index != kNone && !same_route(entries_[index].route, route)) index = entries_[index].next_in_bucket;
  return index;
}

std::uint32_t PathTable::index_of(PathId path) const {
  const std::size_t index = path.value & (kMaximumPaths - 1);
  if (!path || index >= entries_.size() || entries_[index].id != path) return kNone;
  return static_cast<std::uint32_t>(index);
}

std::optional<PathId> PathTable::find(const Route& route) {
  const std::uint32_t index = index_of(route);
  if (index == kNone) return std::nullopt;
  if (entries_[index].pins == 0 && index != newest_) {
    unlink(index);
    link_newest(index);
  }
  return entries_[index].id;
}

std::optional<PathId> PathTable::find_or_create(const Route& route) {
  if (const auto known = find(route)) return known;
  const std::uint32_t index = take_entry();
  if (index == kNone) {
    ++stats_.refused;
    return std::nullopt;
  }
  if (size_ >= buckets_.size()) grow_buckets();
  Entry& entry = entries_[index];
  const std::size_t bucket = bucket_of(route);
  entry = {};
  entry.route = route;
  entry.id = PathId{next_serial_++ << kIndexBits | index};
  entry.next_in_bucket = buckets_[bucket];
  buckets_[bucket] = index;
  link_newest(index);
  ++size_;
  ++stats_.created;
  return entry.id;
}

std::uint32_t PathTable::take_entry() {
  if (free_ == kNone && entries_.size() < options_.maximum_paths) {
    entries_.emplace_back();
    return static_cast<std::uint32_t>(entries_.size() - 1);
  }
  if (free_ == kNone && oldest_ != kNone) {
    release_entry(oldest_);
    ++stats_.evicted;
  }
  const std::uint32_t index = free_;
  if (index != kNone) free_ = entries_[index].newer;
  return index;
}

void PathTable::release_entry(std::uint32_t index) {
  if (entries_[index].pins == 0) unlink(index);
  unlink_from_bucket(index);
  entries_[index] = {};
  entries_[index].newer = free_;
  free_ = index;
  --size_;
}

void PathTable::unlink_from_bucket(std::uint32_t index) {
  std::uint32_t* link = &buckets_[bucket_of(entries_[index].route)];
  while (*link != index) link = &entries_[*link].next_in_bucket;
  *link = entries_[index].next_in_bucket;
}

void PathTable::grow_buckets() {
  buckets_.assign(buckets_.size() * 2, kNone);
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    if (!entries_[index].id) continue;
    const std::size_t bucket = bucket_of(entries_[index].route);
    entries_[index].next_in_bucket = buckets_[bucket];
    buckets_[bucket] = index;
  }
}

void PathTable::link_newest(std::uint32_t index) {
  entries_[index].older = newest_;
  entries_[index].newer = kNone;
  (newest_ == kNone ? oldest_ : entries_[newest_].newer) = index;
  newest_ = index;
}

void PathTable::unlink(std::uint32_t index) {
  const Entry& entry = entries_[index];
  (entry.older == kNone ? oldest_ : entries_[entry.older].newer) = entry.newer;
  (entry.newer == kNone ? newest_ : entries_[entry.newer].older) = entry.older;
}

const Route* PathTable::route(PathId path) const {
  const std::uint32_t index = index_of(path);
  return index == kNone ? nullptr : &entries_[index].route;
}

void PathTable::pin(PathId path) {
  const std::uint32_t index = index_of(path);
  if (index == kNone) return;
  if (entries_[index].pins++ == 0) unlink(index);
}

void PathTable::unpin(PathId path) {
  const std::uint32_t index = index_of(path);
  if (index == kNone || entries_[index].pins == 0) return;
  if (--entries_[index].pins == 0) link_newest(index);
}

void PathTable::set_local(PathId path, const IpAddress& local) {
  const std::uint32_t index = index_of(path);
  if (index != kNone) entries_[index].route.local = local;
}

void PathTable::remove(PathId path) {
  const std::uint32_t index = index_of(path);
  if (index != kNone) release_entry(index);
}

}  // namespace natt
