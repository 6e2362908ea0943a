// SPDX-License-Identifier: Apache-2.0
#pragma once

// The verifiers of one socket that serves several sites: a frame does not say which site
// it is for, so each is asked, and the pre-filter (a hash lookup and a SipHash) finds the
// one that knows the sender. Value type over borrowed verifiers; one thread.

#include <algorithm>
#include <optional>
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
    Verifier* verifier = find(transport, frame);
    return verifier != nullptr ? verifier->verify(now, wall_now, transport, frame, context) : std::nullopt;
  }

 private:
  std::vector<Verifier*> verifiers_;
};

}  // namespace natt::spa
