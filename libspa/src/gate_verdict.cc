// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/kernel_gate.h>

namespace natt::spa {

std::string_view to_string(GateVerdict verdict) {
  switch (verdict) {
    case GateVerdict::kKnock: return "knock";
    case GateVerdict::kInitial: return "initial";
    case GateVerdict::kConnectionId: return "connection_id";
    case GateVerdict::kStun: return "stun";
    case GateVerdict::kRelay: return "relay";
    case GateVerdict::kSyn: return "syn";
    case GateVerdict::kSource: return "source";
    case GateVerdict::kFlow: return "flow";
    case GateVerdict::kDnsAnswer: return "dns_answer";
    case GateVerdict::kUnchecked: return "unchecked";
    case GateVerdict::kNoShape: return "no_shape";
    case GateVerdict::kUnknownHint: return "unknown_hint";
    case GateVerdict::kBadPrefilter: return "bad_prefilter";
    case GateVerdict::kCopy: return "copy";
    case GateVerdict::kForeignId: return "foreign_id";
    case GateVerdict::kBadStunTag: return "bad_stun_tag";
    case GateVerdict::kBadRelay: return "bad_relay";
    case GateVerdict::kBareSyn: return "bare_syn";
    case GateVerdict::kSynBudget: return "syn_budget";
    case GateVerdict::kStray: return "stray";
  }
  return "unknown";
}

}  // namespace natt::spa
