/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a segment to a listener may be. Listeners, requests and connections that were not yet
 * accepted share this filter; what it drops is not answered, neither with SYN-ACK nor RST. */

#include "frame.bpf.h"
#include "source.bpf.h"

#define GATE_TCP_HEADER 20
#define GATE_TCP_FLAGS 0x17 /* FIN, SYN, RST, ACK */
#define GATE_TCP_SYN 0x02
/* docs/WIRE.md section 1.5: the end of the frame in record 1, and where on the stack that begins. */
#define GATE_HELLO_START 76
#define GATE_HELLO_AT 5

static __always_inline int gate_within_budget(const struct gate_config *config, struct gate_hint *hint, __u64 now) {
  const __u32 second = (__u32)(now / 1000000000ULL);
  /* Two processors may both begin a second: the budget is for floods, not for accounting. */
  if (hint->second != second) {
    hint->second = second;
    hint->syns = 0;
  }
  return __sync_fetch_and_add(&hint->syns, 1) < config->syns_per_second;
}

static __always_inline int gate_same_endpoint(const struct gate_endpoint *a, const struct gate_endpoint *b) {
  return a->ip.high == b->ip.high && a->ip.low == b->ip.low && a->port == b->port;
}

/* The first (IP, port) that shows this P owns it. A copy from elsewhere charges nobody; a P that
 * nobody owns charges its device first, or a member could flush the owners with P after P. */
static __always_inline enum gate_verdict gate_claim(__u64 tag, const struct gate_endpoint *from,
                                                    const struct gate_config *config, __u32 place, __u64 now) {
  const struct gate_endpoint *owner = bpf_map_lookup_elem(&gate_owners, &tag);
  if (owner && !gate_same_endpoint(owner, from)) return GATE_COPY;
  struct gate_hint *hint = bpf_map_lookup_elem(&gate_hints, &place);
  if (!hint || !gate_within_budget(config, hint, now)) return GATE_SYN_BUDGET;
  if (owner || bpf_map_update_elem(&gate_owners, &tag, from, BPF_NOEXIST) == 0) return GATE_SYN;
  owner = bpf_map_lookup_elem(&gate_owners, &tag);
  return owner && gate_same_endpoint(owner, from) ? GATE_SYN : GATE_COPY;
}

/* Section 1.5: the start of record 1, whole, in the data of the SYN. It is loaded so that the frame lies on words. */
static __always_inline enum gate_verdict gate_syn_hello(const struct __sk_buff *skb, const struct gate_config *config,
                                                        __u32 at, const struct gate_endpoint *from, __u64 now) {
  __u64 q[11];
  __u8 *octets = (__u8 *)q + GATE_HELLO_AT;
  __u64 *frame = q + 2;
  if (at < GATE_TCP_HEADER || at > 60 || skb->len < at + GATE_HELLO_START) return GATE_BARE_SYN;
  if (bpf_skb_load_bytes(skb, at, octets, GATE_HELLO_START)) return GATE_BARE_SYN;
  const __u32 length = (__u32)octets[3] << 8 | octets[4];
  if (octets[0] != 0x16 || octets[1] != 3 || octets[2] != 1 || length < 71 || length > 512) return GATE_BARE_SYN;
  if (octets[5] != 1 || octets[6] || ((__u32)octets[7] << 8 | octets[8]) != length - 4) return GATE_BARE_SYN;
  if (octets[9] != 3 || octets[10] != 3 || octets[43] != 32) return GATE_BARE_SYN;
  gate_hello_to_host(frame);
  __u32 place;
  const enum gate_verdict verdict = gate_check_frame(config, frame, GATE_TR_TCP, GATE_SYN, &place, frame - 1);
  return verdict == GATE_SYN ? gate_claim(frame[7], from, config, place, now) : verdict;
}

static __always_inline int gate_takes_source(const struct gate_endpoint *from, __u64 now) {
  struct gate_source *source = bpf_map_lookup_elem(&gate_sources, &from->ip);
  if (!source || source->expires_ns <= now) return 0;
  const __u32 left = __sync_fetch_and_add(&source->syns_left, -1);
  if (left != 0 && left <= 0x7fffffff) return 1;
  source->syns_left = 0;
  return 0;
}

static __always_inline enum gate_verdict gate_segment(const struct __sk_buff *skb, const struct gate_config *config,
                                                      int by_source) {
  struct gate_endpoint from;
  __u8 head[2];
  const __u64 now = bpf_ktime_get_ns();
  if (gate_source_of(skb, &from) || bpf_skb_load_bytes(skb, 12, head, 2)) return GATE_STRAY;
  const __u64 *flow = bpf_map_lookup_elem(&gate_flows, &from);
  if (flow && *flow > now) return GATE_FLOW;
  if ((head[1] & GATE_TCP_FLAGS) != GATE_TCP_SYN) return GATE_STRAY;
  enum gate_verdict verdict = gate_syn_hello(skb, config, (__u32)(head[0] >> 4) * 4, &from, now);
  if (verdict == GATE_BARE_SYN && by_source && gate_takes_source(&from, now)) verdict = GATE_SOURCE;
  if (verdict < GATE_NO_SHAPE) {
    const __u64 expires = now + config->flow_lifetime_ns;
    bpf_map_update_elem(&gate_flows, &from, &expires, BPF_ANY);
  }
  return verdict;
}
