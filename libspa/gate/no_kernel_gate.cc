// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/errc.h>
#include <natt/spa/kernel_gate.h>

namespace natt::spa {

Result<std::unique_ptr<KernelGate>> open_kernel_gate(const KernelGateOptions&) {
  return fail(Errc::kUnavailable, "this build has no kernel gate (NATT_KERNEL_GATE is off)");
}

}  // namespace natt::spa
