// SPDX-License-Identifier: Apache-2.0
#pragma once

// The verifiers of one socket that serves several sites: a frame does not say which site
// it is for, so each is asked, and the pre-filter (a hash lookup and a SipHash) finds the
// one that knows the sender. Value type over borrowed verifiers; one thread.

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include <natt/spa/verifier.h>

namespace natt::spa {

class VerifierGroup {
 public:
  // `verifier` outlives its membership.
  void add(Verifier& verifier) { verifiers_.push_back(&verifier); }
  void remove(const Verifier& verifier) { std::erase(verifiers_, &verifier); }

  // Null when no verifier would open the frame; strangers end here.
  [[nodiscard]] Verifier* find(Transport transport, FrameView frame) const {
    for (Verifier* verifier : verifiers_) {
      if (verifier->plausible(transport, frame)) return verifier;
    }
    return nullptr;
  }

  [[nodiscard]] bool plausible(Transport transport, FrameView frame) const { return find(transport, frame) != nullptr; }
  // As Verifier::verify of the one that knows the frame.
  [[nodiscard]] std::optional<Grant> verify(Instant now, WallTime wall_now, Transport transport, FrameView frame,
                                            const KnockContext& context) const {
    // With one there is nothing to find, and hint and P need no second look.
    Verifier* verifier = verifiers_.size() == 1 ? verifiers_.front() : find(transport, frame);
    return verifier != nullptr ? verifier->verify(now, wall_now, transport, frame, context) : std::nullopt;
  }
  // As Verifier::verify_batch: `grants` has as many elements as `frames`. Several verifiers look at each frame in turn,
  // and only one alone waits for memory together.
  void verify_batch(Instant now, WallTime wall_now, std::span<const ArrivedFrame> frames,
                    std::span<std::optional<Grant>> grants) const {
    if (verifiers_.size() == 1) return verifiers_.front()->verify_batch(now, wall_now, frames, grants);
    for (std::size_t i = 0; i < frames.size(); ++i) {
      grants[i] = verify(now, wall_now, frames[i].transport, frames[i].frame, frames[i].context);
    }
  }

 private:
  std::vector<Verifier*> verifiers_;
};

}  // namespace natt::spa
