// SPDX-License-Identifier: Apache-2.0
#pragma once

// Host names to addresses by the system's resolver (getaddrinfo on libuv's thread pool).
// One object, many look-ups; destroying it cancels them: no callback runs afterwards.
//
// Resource type on the embedder's loop and its thread.

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <natt/address.h>
#include <natt/error.h>

struct uv_loop_s;

namespace natt::uv {

class Resolver {
 public:
  // At least one address, in the system's order of preference (RFC 6724), or kUnavailable. May destroy the resolver.
  using Done = std::function<void(const Result<std::vector<IpAddress>>& addresses)>;
  // Look-ups under way; more are refused (libuv has four threads, a slow name server holds each for seconds).
  static constexpr std::size_t kMaxPending = 256;

  explicit Resolver(uv_loop_s& loop) : loop_(loop) {}
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `done` is called from the loop, never from inside this call, exactly once unless the resolver is destroyed.
  // kLimit when too many are under way, kIo when libuv refuses.
  [[nodiscard]] Result<void> resolve(const std::string& host, Done done);

 private:
  struct Request;

  uv_loop_s& loop_;
  std::uint64_t next_ = 1;
  std::unordered_map<std::uint64_t, Request*> pending_;
};

}  // namespace natt::uv
