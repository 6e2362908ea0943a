/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a datagram may be: docs/WIRE.md sections 1.4 to 1.7, 4.1 and 6.1. The kernel runs a
 * filter once per GRO train: this is about the first datagram of it. */

#include "frame.bpf.h"
#include "source.bpf.h"

#define GATE_UDP_HEADER 8

/* The start of a datagram, as octets and as the numbers in it. */
union gate_octets {
  __u8 b[32];
  __u16 h[16];
  __u32 i[8];
  __u64 w[4];
};

static __always_inline __u32 gate_datagram_size(const struct __sk_buff *skb) {
  const __u32 all = skb->len - GATE_UDP_HEADER;
  const __u32 segment = skb->gso_size;
  return segment && segment < all ? segment : all;
}

static __always_inline int gate_load(const struct __sk_buff *skb, __u32 at, void *to, __u32 size) {
  return bpf_skb_load_bytes(skb, GATE_UDP_HEADER + at, to, size);
}

/* The first 93 octets, enough for a knock, fetched at once: a helper's call costs more than what it copies. They begin
 * at the fifth octet, so that the frame lies on words. What a short datagram has not is 0. */
#define GATE_HEAD 93
#define GATE_HEAD_AT 5
struct gate_head {
  __u64 q[13];
};

static __always_inline int gate_load_head(const struct __sk_buff *skb, __u32 size, struct gate_head *head) {
  head->q[0] = head->q[1] = head->q[2] = head->q[3] = head->q[4] = head->q[5] = head->q[6] = 0;
  head->q[7] = head->q[8] = head->q[9] = head->q[10] = head->q[11] = head->q[12] = 0;
  const __u32 some = size < GATE_HEAD ? size : GATE_HEAD;
  if (some == 0 || some > GATE_HEAD) return -1;
  return gate_load(skb, 0, (__u8 *)head->q + GATE_HEAD_AT, some);
}

static __always_inline __u8 gate_first(const struct gate_head *head) { return ((const __u8 *)head->q)[GATE_HEAD_AT]; }

/* Section 1.4. Exactly the shape that parse_udp_carrier takes: a copy of a frame in a shape that user space
 * refuses must not make the frame itself a copy. */
static __always_inline enum gate_verdict gate_dtls_knock(const struct gate_config *config, __u32 size,
                                                         const struct gate_head *head) {
  const __u64 *q = head->q;
  const __u8 *octets = (const __u8 *)q;
  const __u64 body = size - 25;
  struct gate_frame frame;
  if (size <= 93 || size > 512) return GATE_NO_SHAPE;
  if ((bpf_be64_to_cpu(q[0]) & 0xffffff) != 0x16fefd || q[1] != 0) return GATE_NO_SHAPE;
  if (bpf_be64_to_cpu(q[2]) != (((body + 12) << 48) | (1ULL << 40) | (body << 16))) return GATE_NO_SHAPE;
  if (bpf_be64_to_cpu(q[3]) != ((body << 16) | 0xfefd)) return GATE_NO_SHAPE;
  if (octets[GATE_HEAD_AT + 59] != 32 || octets[GATE_HEAD_AT + 92] != 0) return GATE_NO_SHAPE;
  frame.w[0] = GATE_LE64(q[4]);
  frame.w[1] = GATE_LE64(q[5]);
  frame.w[2] = GATE_LE64(q[6]);
  frame.w[3] = GATE_LE64(q[7]);
  /* One octet off the words, behind the length of the session id. */
  frame.w[4] = (GATE_LE64(q[8]) >> 8) | (GATE_LE64(q[9]) << 56);
  frame.w[5] = (GATE_LE64(q[9]) >> 8) | (GATE_LE64(q[10]) << 56);
  frame.w[6] = (GATE_LE64(q[10]) >> 8) | (GATE_LE64(q[11]) << 56);
  frame.w[7] = (GATE_LE64(q[11]) >> 8) | (GATE_LE64(q[12]) << 56);
  struct gate_hint *hint;
  const enum gate_verdict verdict = gate_check_frame(config, &frame, GATE_TR_UDP, GATE_KNOCK, &hint);
  return verdict == GATE_KNOCK && gate_count_copy(frame.w[7], GATE_TR_UDP) ? GATE_COPY : verdict;
}

/* Eight characters of base32hex (RFC 4648 section 7, either case), the first in the highest octet, as 40 bits.
 * Other characters become some number: then P is wrong. */
static __always_inline __u64 gate_base32(__u64 text) {
  const __u64 letters = (text >> 6) & 0x0101010101010101ULL;
  __u64 v = text & 0x1f1f1f1f1f1f1f1fULL;
  v ^= (letters ^ 0x0101010101010101ULL) << 4;
  v += letters * 9;
  v &= 0x1f1f1f1f1f1f1f1fULL;
  v = ((v >> 3) & 0x03e003e003e003e0ULL) | (v & 0x001f001f001f001fULL);
  v = ((v >> 6) & 0x000ffc00000ffc00ULL) | (v & 0x000003ff000003ffULL);
  return ((v >> 12) & 0x000000fffff00000ULL) | (v & 0x00000000000fffffULL);
}

/* 103 characters and a '0' are 13 groups of 40 bits: the 512 bits of the frame, and 3 more. */
static __always_inline void gate_frame_from_text(struct gate_frame *frame, const __u64 *text) {
  __u64 a = gate_base32(bpf_be64_to_cpu(text[0]));
  __u64 b = gate_base32(bpf_be64_to_cpu(text[1]));
  frame->w[0] = __builtin_bswap64((a << 24) | (b >> 16));
  a = gate_base32(bpf_be64_to_cpu(text[2]));
  __u64 c = gate_base32(bpf_be64_to_cpu(text[3]));
  frame->w[1] = __builtin_bswap64((b << 48) | (a << 8) | (c >> 32));
  a = gate_base32(bpf_be64_to_cpu(text[4]));
  frame->w[2] = __builtin_bswap64((c << 32) | (a >> 8));
  b = gate_base32(bpf_be64_to_cpu(text[5]));
  c = gate_base32(bpf_be64_to_cpu(text[6]));
  frame->w[3] = __builtin_bswap64((a << 56) | (b << 16) | (c >> 24));
  a = gate_base32(bpf_be64_to_cpu(text[7]));
  frame->w[4] = __builtin_bswap64((c << 40) | a);
  a = gate_base32(bpf_be64_to_cpu(text[8]));
  b = gate_base32(bpf_be64_to_cpu(text[9]));
  frame->w[5] = __builtin_bswap64((a << 24) | (b >> 16));
  a = gate_base32(bpf_be64_to_cpu(text[10]));
  c = gate_base32(bpf_be64_to_cpu(text[11]));
  frame->w[6] = __builtin_bswap64((b << 48) | (a << 8) | (c >> 32));
  a = gate_base32(bpf_be64_to_cpu(text[12]));
  frame->w[7] = __builtin_bswap64((c << 32) | (a >> 8));
}

/* Section 1.4.1: the four labels of 26, 26, 26 and 25 characters at their fixed places. */
static __always_inline enum gate_verdict gate_dns_knock(const struct __sk_buff *skb, const struct gate_config *config,
                                                        __u32 size, const union gate_octets *head) {
  __u64 text[13];
  __u8 *t = (__u8 *)text;
  struct gate_frame frame;
  /* 12 of header, 107 of labels, the root, type and class, an OPT record of 11. */
  if (size < 12 + 107 + 1 + 4 + 11 || size > 512) return GATE_NO_SHAPE;
  /* RD, AD and CD are free; one question and one additional record. */
  if (head->h[1] & bpf_htons(0xfecf) || head->b[12] != 26) return GATE_NO_SHAPE;
  if (head->i[1] != bpf_htonl(0x00010000) || head->i[2] != bpf_htonl(0x00000001)) return GATE_NO_SHAPE;
  /* Backwards, each with its length octet, which the label before it then covers. */
  t[103] = '0';
  if (gate_load(skb, 93, t + 77, 26) || t[77] != 25) return GATE_NO_SHAPE;
  if (gate_load(skb, 66, t + 51, 27) || t[51] != 26) return GATE_NO_SHAPE;
  if (gate_load(skb, 39, t + 25, 27) || t[25] != 26) return GATE_NO_SHAPE;
  if (gate_load(skb, 13, t, 26)) return GATE_NO_SHAPE;
  gate_frame_from_text(&frame, text);
  struct gate_hint *hint;
  const enum gate_verdict verdict = gate_check_frame(config, &frame, GATE_TR_DNS, GATE_KNOCK, &hint);
  return verdict == GATE_KNOCK && gate_count_copy(frame.w[7], GATE_TR_DNS) ? GATE_COPY : verdict;
}

/* Who is there: a broker is asked (Binding requests), a tunnel's socket asks as well and takes answers. */
enum gate_end { GATE_BROKER, GATE_TUNNEL };

/* Whether we asked under this id, and not too long ago. */
static __always_inline int gate_is_awaited(const union gate_octets *head) {
  const struct gate_transaction key = {.id = {head->i[2], head->i[3], head->i[4]}};
  const __u64 *expires = bpf_map_lookup_elem(&gate_awaited, &key);
  return expires && *expires > bpf_ktime_get_ns();
}

/* Section 4.1: four octets and their hash in a request; an answer has the id of what we asked. */
static __noinline enum gate_verdict gate_stun(const struct __sk_buff *skb, const struct gate_config *config,
                                              __u32 size, enum gate_end end) {
  union gate_octets head = {};
  if (size < 20 || gate_load(skb, 0, head.b, 20)) return GATE_NO_SHAPE;
  if (head.i[1] != bpf_htonl(0x2112a442) || bpf_ntohs(head.h[1]) + 20 != size) return GATE_NO_SHAPE;
  /* RFC 8489 section 5: Binding success and error. */
  if (head.h[0] == bpf_htons(0x0101) || head.h[0] == bpf_htons(0x0111))
    return end == GATE_TUNNEL && gate_is_awaited(&head) ? GATE_STUN : GATE_BAD_STUN_TAG;
  if (head.h[0] != bpf_htons(0x0001)) return GATE_NO_SHAPE;
  if (config->flags & GATE_FLAG_ANY_STUN) return GATE_STUN;
  const __u64 last = GATE_LAST_WORD(4, GATE_LE32(head.i[2]));
  const __u64 tag = (__u64)GATE_LE32(head.i[4]) << 32 | GATE_LE32(head.i[3]);
  for (__u32 i = 0; i < GATE_MAX_STUN_KEYS; ++i) {
    __u32 index = i;
    if (i >= config->stun_keys) return GATE_BAD_STUN_TAG;
    const struct gate_sip_key *key = bpf_map_lookup_elem(&gate_stun_keys, &index);
    if (!key) return GATE_BAD_STUN_TAG;
    if (gate_siphash_short(key, last) == tag) return GATE_STUN;
  }
  return GATE_BAD_STUN_TAG;
}

/* Whether whoever sent this was asked for what it is, and not too long ago. */
static __noinline int gate_answers(const struct __sk_buff *skb, enum gate_answer kind) {
  struct gate_endpoint from;
  if (gate_source_of(skb, &from)) return 0;
  from.port |= (__u64)kind << 32;
  const __u64 *expires = bpf_map_lookup_elem(&gate_answerers, &from);
  return expires && *expires > bpf_ktime_get_ns();
}

/* Section 6.1: the size of each kind, and which of them come from a leg (to a broker) or from a relay. Relays are
 * those that we have a leg at. */
static __always_inline enum gate_verdict gate_relay(const struct __sk_buff *skb, __u32 size, enum gate_end end) {
  __u8 kind = 0;
  if (size < 14 || gate_load(skb, 1, &kind, 1)) return GATE_BAD_RELAY;
  const int from_leg = end == GATE_BROKER;
  int good = 0;
  if (kind == 0) good = size > 14;
  if (from_leg && kind == 1) good = size > 46 && size <= 46 + 320;
  if (from_leg && (kind == 3 || kind == 5 || kind == 6)) good = size == 46;
  if (!from_leg && kind == 2) good = size == 46;
  if (!from_leg && kind == 4) good = size == 39;
  if (!from_leg && kind == 7) good = size == 31;
  if (good && !from_leg) good = gate_answers(skb, GATE_ANSWER_RELAY);
  return good ? GATE_RELAY : GATE_BAD_RELAY;
}

/* RFC 1035 section 4.1.1: an answer (QR), to one question at most, from where a knock over DNS went. Brokers give none:
 * who does stands in the way. */
static __always_inline int gate_is_dns_answer(const struct __sk_buff *skb, __u32 size, const struct gate_head *head) {
  const __u8 *octets = (const __u8 *)head->q + GATE_HEAD_AT;
  if (size < 12 || !(octets[2] & 0x80) || octets[4] || octets[5] > 1) return 0;
  return gate_answers(skb, GATE_ANSWER_DNS);
}

/* Section 1.7: eight octets and their hash, big-endian. */
static __noinline int gate_is_own_id(const struct __sk_buff *skb, const struct gate_config *config, __u32 at) {
  __u64 id[2];
  if (at > 64 || gate_load(skb, at, id, 16)) return 0;
  const __u64 word = GATE_LE64(id[0]);
  const __u64 tag = bpf_be64_to_cpu(id[1]);
  for (__u32 i = 0; i < GATE_MAX_CONNECTION_ID_KEYS; ++i) {
    __u32 index = i;
    if (i >= config->connection_id_keys) return 0;
    const struct gate_sip_key *key = bpf_map_lookup_elem(&gate_cid_keys, &index);
    if (!key) return 0;
    if (gate_siphash_two(key, word, GATE_LAST_WORD(8, 0)) == tag) return 1;
  }
  return 0;
}

/* Retransmissions of an Initial carry its token again: some pass from one source. User space tells copies. */
static __always_inline __u32 gate_count_initial(const struct __sk_buff *skb, __u64 tag) {
  struct gate_endpoint from;
  if (gate_source_of(skb, &from)) return 0;
  return gate_count_copy(tag, from.ip.high ^ (from.ip.low * 3) ^ (from.port << 3) ^ GATE_TR_TOKEN);
}

/* Section 1.6: version 1 or 2, connection ids of 8 to 20 and up to 20, a token of 64 octets, 1200 octets in all. */
static __always_inline enum gate_verdict gate_initial(const struct __sk_buff *skb, const struct gate_config *config,
                                                      __u32 size, const union gate_octets *head) {
  __u8 scid = 0;
  __u16 token = 0;
  struct gate_frame frame;
  const __u8 type = head->b[0] & 0xf0;
  const __u32 version = (__u32)head->b[1] << 24 | head->b[2] << 16 | head->b[3] << 8 | head->b[4];
  if (size < 1200) return GATE_FOREIGN_ID;
  if (!(version == 1 && type == 0xc0) && !(version == 0x6b3343cf && type == 0xd0)) return GATE_FOREIGN_ID;
  const __u32 dcid = head->b[5];
  if (dcid < 8 || dcid > 20 || gate_load(skb, 6 + dcid, &scid, 1) || scid > 20) return GATE_FOREIGN_ID;
  const __u32 at = 7 + dcid + scid;
  if (gate_load(skb, at, &token, 2) || token != bpf_htons(0x4040)) return GATE_FOREIGN_ID;
  if (gate_load(skb, at + 2, frame.w, 64)) return GATE_FOREIGN_ID;
  gate_frame_to_host(&frame);
  struct gate_hint *hint;
  const enum gate_verdict verdict = gate_check_frame(config, &frame, GATE_TR_TOKEN, GATE_INITIAL, &hint);
  if (verdict != GATE_INITIAL) return verdict;
  return gate_count_initial(skb, frame.w[7]) < GATE_MAX_INITIALS ? GATE_INITIAL : GATE_COPY;
}

static __always_inline enum gate_verdict gate_quic(const struct __sk_buff *skb, const struct gate_config *config,
                                                   __u32 size) {
  union gate_octets head = {};
  if (size < 1 + 16 || gate_load(skb, 0, head.b, 6)) return GATE_NO_SHAPE;
  /* The fixed bit: nobody here greases it (RFC 9443 section 2). */
  if (!(head.b[0] & 0x40)) return GATE_NO_SHAPE;
  if (!(head.b[0] & 0x80)) return gate_is_own_id(skb, config, 1) ? GATE_CONNECTION_ID : GATE_FOREIGN_ID;
  if (head.b[5] == 16 && gate_is_own_id(skb, config, 6)) return GATE_CONNECTION_ID;
  return gate_initial(skb, config, size, &head);
}
