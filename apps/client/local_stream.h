// SPDX-License-Identifier: Apache-2.0
#pragma once

// A connection of a local application on its way into a tunnel, and who is told how that
// went. The listener side of natt::tunnel::uv::SiteClient, by request.

#include <map>

#include <natt/tunnel/uv/site_client.h>

namespace natt::client {

// Routes the answers of one site's streams to whoever asked for them. Resource type.
class StreamWaiters {
 public:
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // May destroy the waiter.
    virtual void on_opened(Instant now) = 0;
    virtual void on_failed(Instant now, const tunnel::uv::StreamFailure& failure) = 0;
  };

  void add(tunnel::uv::StreamRequestId id, Waiter& waiter) { waiters_.insert_or_assign(id, &waiter); }
  void remove(tunnel::uv::StreamRequestId id) { waiters_.erase(id); }
  void handle_opened(Instant now, tunnel::uv::StreamRequestId id) {
    if (Waiter* waiter = take(id)) waiter->on_opened(now);
  }
  void handle_failed(Instant now, tunnel::uv::StreamRequestId id, const tunnel::uv::StreamFailure& failure) {
    if (Waiter* waiter = take(id)) waiter->on_failed(now, failure);
  }

 private:
  [[nodiscard]] Waiter* take(tunnel::uv::StreamRequestId id) {
    const auto found = waiters_.find(id);
    if (found == waiters_.end()) return nullptr;
    Waiter* waiter = found->second;
    waiters_.erase(found);
    return waiter;
  }

  std::map<tunnel::uv::StreamRequestId, Waiter*> waiters_;
};

}  // namespace natt::client
