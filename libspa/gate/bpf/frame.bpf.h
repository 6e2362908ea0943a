/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hint and P of an SPA frame: docs/WIRE.md section 1.3, step 1. A frame is eight words on the
 * stack, as SipHash reads them. They are written where a packet was loaded to before: with
 * CAP_BPF alone the verifier puts a fence behind every store to new stack. */

#include <bpf/bpf_endian.h>

#include "gate_maps.bpf.h"
#include "siphash.bpf.h"

enum gate_transport { GATE_TR_UDP = 1, GATE_TR_DNS = 2, GATE_TR_TCP = 3, GATE_TR_TOKEN = 4 };

/* Octets were loaded: what SipHash reads is little-endian. */
static __always_inline void gate_words_to_host(__u64 *w) {
  w[0] = GATE_LE64(w[0]);
  w[1] = GATE_LE64(w[1]);
  w[2] = GATE_LE64(w[2]);
  w[3] = GATE_LE64(w[3]);
  w[4] = GATE_LE64(w[4]);
  w[5] = GATE_LE64(w[5]);
  w[6] = GATE_LE64(w[6]);
  w[7] = GATE_LE64(w[7]);
}

/* The same of a frame in a hello: its second half, from w[4] on, lies one octet behind the words, after the length of
 * the session id: the last of its octets is the first of a ninth word. */
static __always_inline void gate_hello_to_host(__u64 *w) {
  w[0] = GATE_LE64(w[0]);
  w[1] = GATE_LE64(w[1]);
  w[2] = GATE_LE64(w[2]);
  w[3] = GATE_LE64(w[3]);
  w[4] = (GATE_LE64(w[4]) >> 8) | (GATE_LE64(w[5]) << 56);
  w[5] = (GATE_LE64(w[5]) >> 8) | (GATE_LE64(w[6]) << 56);
  w[6] = (GATE_LE64(w[6]) >> 8) | (GATE_LE64(w[7]) << 56);
  w[7] = (GATE_LE64(w[7]) >> 8) | ((__u64)*(const __u8 *)&w[8] << 56);
}

/* The filter's bit for the hint: most strangers end here. Keys of maps are written to `key`, for the reason above: a
 * fence would have the table's line of memory waited for behind the filter's, and not beside it. */
static __always_inline int gate_may_know(const struct gate_config *config, __u32 home, __u32 *key) {
  *key = (home & config->filter_mask) / 64;
  const __u64 *bits = bpf_map_lookup_elem(&gate_filter, key);
  return bits && (*bits >> (home & 63) & 1);
}

/* Where the hint stands, plus 1, searched from `home` on; 0 for one that is not there. */
__noinline __u32 gate_search(__u64 hint, __u32 home, __u32 mask) {
  for (__u32 i = 0; i < GATE_PROBES; ++i) {
    __u32 at = (home + i) & mask;
    const struct gate_hint *place = bpf_map_lookup_elem(&gate_hints, &at);
    if (!place || place->hint == 0) return 0;
    if (place->hint == hint) return at + 1;
  }
  return 0;
}

/* The place, plus 1, of the frame's hint when it is masked for this verifier; 0: unknown. */
__noinline __u32 gate_place_under(__u32 verifier, __u64 nonce, __u64 last, __u64 masked) {
  const struct gate_config *config = gate_settings();
  const struct gate_sip_key *mask = bpf_map_lookup_elem(&gate_masks, &verifier);
  if (!config || !mask) return 0;
  const __u64 hint = GATE_LE64(masked ^ gate_siphash_two(mask, nonce, last));
  const __u32 home = (__u32)GATE_LE64(hint);
  return gate_may_know(config, home, &verifier) ? gate_search(hint, home, config->hint_mask) : 0;
}

/* Unrolled: behind a loop's last turn the verifier would try what a processor may guess, one more turn, and so on. */
__noinline __u32 gate_place_of_others(__u32 verifiers, __u64 nonce, __u64 last, __u64 masked) {
  __u32 place = 0;
#pragma unroll
  for (__u32 i = 1; i < GATE_MAX_VERIFIERS; ++i) {
    if (!place && i < verifiers) place = gate_place_under(i, nonce, last, masked);
  }
  return place;
}

/* The hint as it is masked. */
static __always_inline __u64 gate_masked_of(const __u64 *w) {
  return (w[1] >> 32) | (w[2] << 32);
}

/* What the first verifier knows: nearly all have one. Without a call, unless other hints are in the way. The place,
 * plus 1, and no pointer: where a value is a pointer on one way and nothing on the other, a processor may guess wrong
 * and use the nothing, which verifiers before Linux 6.17 do not forgive without CAP_PERFMON. */
static __always_inline __u32 gate_find_first(const struct gate_config *config, const __u64 *w,
                                                         __u32 *key) {
  *key = 0;
  const struct gate_sip_key *mask = bpf_map_lookup_elem(&gate_masks, key);
  if (!mask) return 0;
  __u64 hash = gate_siphash_nonce(mask, w);
  GATE_READ_AFTER(hash);
  const __u64 hint = GATE_LE64(hash ^ gate_masked_of(w));
  const __u32 home = (__u32)GATE_LE64(hint);
  if (!gate_may_know(config, home, key)) return 0;
  *key = home & config->hint_mask;
  const struct gate_hint *place = bpf_map_lookup_elem(&gate_hints, key);
  if (!place || place->hint == 0) return 0;
  if (place->hint == hint) return (home & config->hint_mask) + 1;
  return gate_search(hint, home + 1, config->hint_mask);
}

/* The place, plus 1, of the frame's hint, if one of the verifiers knows it. */
static __always_inline __u32 gate_find_hint(const struct gate_config *config, const __u64 *w, __u32 *key) {
  if (config->verifiers == 0) return 0;
  const __u32 first = gate_find_first(config, w, key);
  const __u32 verifiers = config->verifiers;
  if (first || verifiers == 1) return first;
  const __u64 last = GATE_LAST_WORD(12, w[1] & 0xffffffff);
  return gate_place_of_others(verifiers, w[0], last, gate_masked_of(w));
}

/* `good` when hint and P are right; where the hint's record is in `place`. `key` is a place on the stack that was loaded
 * to and is not needed any more. While not all hints fit, an unknown one says nothing: then datagrams pass to user
 * space, which knows; a SYN does not, or the kernel would answer strangers. */
static __always_inline enum gate_verdict gate_check_frame(const struct gate_config *config, const __u64 *w,
                                                          enum gate_transport transport, enum gate_verdict good,
                                                          __u32 *place, __u64 *key) {
  /* Its second half: a store to the first one is one of a register, which has a fence again when it is written over. */
  __u32 *const index = (__u32 *)key + 1;
  const __u32 found = gate_find_hint(config, w, index);
  *place = found - 1;
  if (!found)
    return transport != GATE_TR_TCP && config->flags & GATE_FLAG_INCOMPLETE ? GATE_UNCHECKED : GATE_UNKNOWN_HINT;
  *index = found - 1;
  const struct gate_hint *hint = bpf_map_lookup_elem(&gate_hints, index);
  if (!hint || gate_siphash_frame(&hint->prefilter, w, transport) != w[7]) return GATE_BAD_PREFILTER;
  return good;
}

/* How often the frame came before, this time not counted; from this source, where that matters. Only for what user
 * space takes for a frame: a copy that it refuses must not make the frame itself a copy. */
static __always_inline __u32 gate_count_copy(__u64 tag, __u64 source) {
  const struct gate_copy key = {.tag = tag, .source = source};
  __u32 *seen = bpf_map_lookup_elem(&gate_copies, &key);
  if (seen) return __sync_fetch_and_add(seen, 1);
  const __u32 first = 1;
  bpf_map_update_elem(&gate_copies, &key, &first, BPF_ANY);
  return 0;
}
