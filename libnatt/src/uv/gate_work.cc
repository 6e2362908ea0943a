// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/gate_work.h>

#include <utility>

namespace natt::uv {

GateWork::GateWork(uv_loop_s& loop, spa::KernelGate* gate, std::function<void()> made)
    : gate_(gate), made_(std::move(made)), task_(loop) {}

void GateWork::flush() {
  if (gate_ == nullptr) return;
  gate_->flush();
  if (auto work = gate_->take_work()) task_.start(std::move(work), made_);
}

std::optional<Instant> GateWork::next_deadline(Instant now) const {
  return gate_ != nullptr && gate_->has_work() ? std::optional(now) : std::nullopt;
}

}  // namespace natt::uv
