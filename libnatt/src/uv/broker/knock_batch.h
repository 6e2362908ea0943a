// SPDX-License-Identifier: Apache-2.0
#pragma once

// Knocks that one turn of the loop brought, verified together: then the verifier waits
// for memory once for many of them, which a flood of garbage is the reason for. Holds
// at most kMost; what is granted goes to the listener in the order of arrival.

#include <array>

#include <natt/knock_listener.h>
#include <natt/spa/verifier_group.h>

namespace natt::uv {

class KnockBatch {
 public:
  // Two pieces of the verifier's own.
  static constexpr std::size_t kMost = 64;

  // `verifiers` and `listener`, which may be null, outlive it.
  KnockBatch(const spa::VerifierGroup& verifiers, KnockListener* listener)
      : verifiers_(verifiers), listener_(listener) {}
  KnockBatch(const KnockBatch&) = delete;
  KnockBatch& operator=(const KnockBatch&) = delete;

  // Verifies at once what it holds when there is no room for more.
  void add(Instant now, const spa::ArrivedFrame& frame, const SocketAddress& from);
  // Everything added so far. To be called before anything else of the turn is done that a grant could change.
  void verify(Instant now);
  [[nodiscard]] std::uint64_t granted() const { return granted_; }

 private:
  const spa::VerifierGroup& verifiers_;
  KnockListener* listener_;
  std::array<spa::ArrivedFrame, kMost> frames_{};
  std::array<SocketAddress, kMost> sources_{};
  std::array<std::optional<spa::Grant>, kMost> grants_{};
  std::size_t count_ = 0;
  std::uint64_t granted_ = 0;
};

}  // namespace natt::uv
