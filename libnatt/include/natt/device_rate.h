// SPDX-License-Identifier: Apache-2.0
#pragma once

// How often each device may have something done: a token bucket per device, for so many devices
// at a time. What is remembered goes again when its bucket is full; when there are too many, the
// device that asked least lately is forgotten, and starts full.
//
// Value type on a passed-in clock.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <map>

#include <natt/identity.h>
#include <natt/time.h>
#include <natt/token_bucket.h>

namespace natt {

class DeviceRate {
 public:
  struct Limit {
    Duration interval{};      // between two, in the long run; whole milliseconds
    std::uint64_t burst = 1;  // at once, after a pause
  };

  DeviceRate(const Limit& limit, std::size_t max_devices) : limit_(limit), max_devices_(max_devices) {}
  DeviceRate(const DeviceRate&) = delete;
  DeviceRate& operator=(const DeviceRate&) = delete;

  // False: not now. `now` never goes back.
  [[nodiscard]] bool take(Instant now, const Identity& device) {
    forget(now);
    return entry_of(device, now).bucket.take(now, cost());
  }
  [[nodiscard]] std::size_t size() const { return by_device_.size(); }

 private:
  struct Entry {
    Identity device;
    TokenBucket bucket;
    Instant last;
  };
  static constexpr std::uint64_t kTokensPerSecond = 1000;

  // A token is a millisecond.
  [[nodiscard]] std::uint64_t cost() const {
    return static_cast<std::uint64_t>(limit_.interval / std::chrono::milliseconds(1));
  }
  Entry& entry_of(const Identity& device, Instant now) {
    if (const auto known = by_device_.find(device); known != by_device_.end()) {
      order_.splice(order_.end(), order_, known->second);
      known->second->last = now;
      return *known->second;
    }
    if (by_device_.size() >= max_devices_) forget_oldest();
    order_.push_back({device, TokenBucket(kTokensPerSecond, cost() * limit_.burst), now});
    by_device_.emplace(device, std::prev(order_.end()));
    return order_.back();
  }
  void forget(Instant now) {
    const Duration full = limit_.interval * static_cast<std::int64_t>(limit_.burst);
    while (!order_.empty() && order_.front().last + full <= now) forget_oldest();
  }
  void forget_oldest() {
    by_device_.erase(order_.front().device);
    order_.pop_front();
  }

  Limit limit_;
  std::size_t max_devices_;
  std::list<Entry> order_;  // the one that asked least lately first
  std::map<Identity, std::list<Entry>::iterator> by_device_;
};

}  // namespace natt
