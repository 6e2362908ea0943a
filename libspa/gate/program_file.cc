// SPDX-License-Identifier: Apache-2.0
#include "gate/gate_object.h"

namespace natt::spa::gate {
namespace {

alignas(8) constexpr std::uint8_t kProgramFile[] = {
#include "gate.bpf.inc"
};

}  // namespace

std::span<const std::uint8_t> program_file() { return kProgramFile; }

}  // namespace natt::spa::gate
