/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hint and P of an SPA frame: docs/WIRE.md section 1.3, step 1. */

#include <bpf/bpf_endian.h>

#include "gate_maps.bpf.h"
#include "siphash.bpf.h"

enum gate_transport { GATE_TR_UDP = 1, GATE_TR_DNS = 2, GATE_TR_TCP = 3, GATE_TR_TOKEN = 4 };

/* The eight words of a frame, in the order of the machine. */
struct gate_frame {
  __u64 w[8];
};

/* Octets were loaded: what SipHash reads is little-endian. */
static __always_inline void gate_frame_to_host(struct gate_frame *frame) {
  frame->w[0] = GATE_LE64(frame->w[0]);
  frame->w[1] = GATE_LE64(frame->w[1]);
  frame->w[2] = GATE_LE64(frame->w[2]);
  frame->w[3] = GATE_LE64(frame->w[3]);
  frame->w[4] = GATE_LE64(frame->w[4]);
  frame->w[5] = GATE_LE64(frame->w[5]);
  frame->w[6] = GATE_LE64(frame->w[6]);
  frame->w[7] = GATE_LE64(frame->w[7]);
}

/* Where the hint stands, plus 1; 0 for one that nobody knows. Not static: the verifier looks at it once, and not once
 * for each way that leads here. */
__noinline __u32 gate_place_of(__u64 hint) {
  const struct gate_config *config = gate_settings();
  if (!config) return 0;
  const __u32 home = (__u32)GATE_LE64(hint);
  __u32 word = (home & ((config->hint_mask + 1) * GATE_FILTER_BITS_PER_PLACE - 1)) / 64;
  const __u64 *bits = bpf_map_lookup_elem(&gate_filter, &word);
  if (!bits || !(*bits >> (home & 63) & 1)) return 0;
  for (__u32 i = 0; i < GATE_PROBES; ++i) {
    __u32 at = (home + i) & config->hint_mask;
    const struct gate_hint *place = bpf_map_lookup_elem(&gate_hints, &at);
    if (!place || place->hint == 0) return 0;
    if (place->hint == hint) return at + 1;
  }
  return 0;
}

/* The record of the hint, if one of the verifiers knows it. */
static __always_inline struct gate_hint *gate_find_hint(const struct gate_config *config,
                                                        const struct gate_frame *frame) {
  const __u64 masked = (frame->w[1] >> 32) | (frame->w[2] << 32);
  const __u64 last = GATE_LAST_WORD(12, frame->w[1] & 0xffffffff);
  for (__u32 i = 0; i < GATE_MAX_VERIFIERS; ++i) {
    __u32 index = i;
    if (i >= config->verifiers) return 0;
    const struct gate_sip_key *mask = bpf_map_lookup_elem(&gate_masks, &index);
    if (!mask) return 0;
    __u32 place = gate_place_of(GATE_LE64(masked ^ gate_siphash_two(mask, frame->w[0], last)));
    if (!place--) continue;
    return bpf_map_lookup_elem(&gate_hints, &place);
  }
  return 0;
}

/* `good` when hint and P are right; the hint's record in `hint`. */
static __always_inline enum gate_verdict gate_check_frame(const struct gate_config *config,
                                                          const struct gate_frame *frame,
                                                          enum gate_transport transport, enum gate_verdict good,
                                                          struct gate_hint **hint) {
  *hint = gate_find_hint(config, frame);
  if (!*hint) return config->flags & GATE_FLAG_INCOMPLETE ? GATE_UNCHECKED : GATE_UNKNOWN_HINT;
  if (gate_siphash_frame(&(*hint)->prefilter, frame->w, transport) != frame->w[7]) return GATE_BAD_PREFILTER;
  return good;
}

/* How often the frame came before, this time not counted; from this source, where that matters. */
static __always_inline __u32 gate_count_copy(__u64 tag, __u64 source) {
  const struct gate_copy key = {.tag = tag, .source = source};
  __u32 *seen = bpf_map_lookup_elem(&gate_copies, &key);
  if (seen) return __sync_fetch_and_add(seen, 1);
  const __u32 first = 1;
  bpf_map_update_elem(&gate_copies, &key, &first, BPF_ANY);
  return 0;
}
