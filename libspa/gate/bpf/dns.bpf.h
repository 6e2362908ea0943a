/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A knock over DNS: docs/WIRE.md section 1.4.1. Strangers end at hint and P, whatever the
 * rest of their queries looks like; what gets past is held against all that
 * parse_dns_carrier asks for before it counts as this frame. */

#include "udp.bpf.h"

/* Header, labels and six octets more, fetched at once; they begin at the fourth octet, so that the first label's text
 * lies on words. */
#define GATE_QUERY 125
#define GATE_QUERY_AT 3
/* 12 of header, 107 of labels, the root, type and class, an OPT record of 11. */
#define GATE_LEAST_QUERY (12 + 107 + 1 + 4 + 11)
#define GATE_SUFFIX_AT 119
/* Type, class, and an OPT record up to its length. */
#define GATE_QUERY_TAIL 15

/* Eight characters of base32hex (RFC 4648 section 7, either case), the first in the highest octet, as 40 bits.
 * Other characters become some number: gate_are_digits comes later. */
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

/* The 103 digits and a '0' in groups of eight, without the length octets between the labels. Macros: the words are
 * read where they lie. */
#define GATE_TEXT(q, i) bpf_be64_to_cpu((q)[i])
#define GATE_GROUP_0(q) GATE_TEXT(q, 2)
#define GATE_GROUP_1(q) GATE_TEXT(q, 3)
#define GATE_GROUP_2(q) GATE_TEXT(q, 4)
#define GATE_GROUP_3(q) \
  ((GATE_TEXT(q, 5) & 0xffff000000000000ULL) | ((GATE_TEXT(q, 5) << 8) & 0x0000ffffffffff00ULL) | \
   (GATE_TEXT(q, 6) >> 56))
#define GATE_GROUP_4(q) ((GATE_TEXT(q, 6) << 8) | (GATE_TEXT(q, 7) >> 56))
#define GATE_GROUP_5(q) ((GATE_TEXT(q, 7) << 8) | (GATE_TEXT(q, 8) >> 56))
#define GATE_GROUP_6(q) \
  (((GATE_TEXT(q, 8) << 8) & 0xffffffff00000000ULL) | ((GATE_TEXT(q, 8) << 16) & 0xffff0000ULL) | \
   (GATE_TEXT(q, 9) >> 48))
#define GATE_GROUP_7(q) ((GATE_TEXT(q, 9) << 16) | (GATE_TEXT(q, 10) >> 48))
#define GATE_GROUP_8(q) ((GATE_TEXT(q, 10) << 16) | (GATE_TEXT(q, 11) >> 48))
#define GATE_GROUP_9(q) ((GATE_TEXT(q, 11) << 16) | ((GATE_TEXT(q, 12) >> 40) & 0xffff))
#define GATE_GROUP_10(q) ((GATE_TEXT(q, 12) << 24) | (GATE_TEXT(q, 13) >> 40))
#define GATE_GROUP_11(q) ((GATE_TEXT(q, 13) << 24) | (GATE_TEXT(q, 14) >> 40))
#define GATE_GROUP_12(q) ((GATE_TEXT(q, 14) << 24) | ((GATE_TEXT(q, 15) >> 40) & 0xffff00) | '0')

/* Nothing is read before here that is needed behind it: what the compiler has no register for costs a fence each. */
#define GATE_READ_HERE asm volatile("" ::: "memory")

/* 13 groups of 40 bits are the 512 bits of the frame and 8 more. The words of the frame go where their text was. */
static __always_inline void gate_frame_from_text(__u64 *q) {
  __u64 a = gate_base32(GATE_GROUP_0(q));
  GATE_READ_HERE;
  __u64 b = gate_base32(GATE_GROUP_1(q));
  q[0] = __builtin_bswap64((a << 24) | (b >> 16));
  GATE_READ_HERE;
  a = gate_base32(GATE_GROUP_2(q));
  GATE_READ_HERE;
  __u64 c = gate_base32(GATE_GROUP_3(q));
  q[1] = __builtin_bswap64((b << 48) | (a << 8) | (c >> 32));
  GATE_READ_HERE;
  a = gate_base32(GATE_GROUP_4(q));
  q[2] = __builtin_bswap64((c << 32) | (a >> 8));
  GATE_READ_HERE;
  b = gate_base32(GATE_GROUP_5(q));
  GATE_READ_HERE;
  c = gate_base32(GATE_GROUP_6(q));
  q[3] = __builtin_bswap64((a << 56) | (b << 16) | (c >> 24));
  GATE_READ_HERE;
  a = gate_base32(GATE_GROUP_7(q));
  q[4] = __builtin_bswap64((c << 40) | a);
  GATE_READ_HERE;
  a = gate_base32(GATE_GROUP_8(q));
  GATE_READ_HERE;
  b = gate_base32(GATE_GROUP_9(q));
  q[5] = __builtin_bswap64((a << 24) | (b >> 16));
  GATE_READ_HERE;
  a = gate_base32(GATE_GROUP_10(q));
  GATE_READ_HERE;
  c = gate_base32(GATE_GROUP_11(q));
  q[6] = __builtin_bswap64((b << 48) | (a << 8) | (c >> 32));
  GATE_READ_HERE;
  a = gate_base32(GATE_GROUP_12(q));
  q[7] = __builtin_bswap64((c << 32) | (a >> 8));
  GATE_READ_HERE;
}

#define GATE_ALL(octet) ((octet) * 0x0101010101010101ULL)

/* The highest bit of each octet that is from `low` to `high`; for octets below 128. */
static __always_inline __u64 gate_between(__u64 octets, __u64 low, __u64 high) {
  return (octets + GATE_ALL(0x80 - low)) & ~(octets + GATE_ALL(0x7f - high)) & GATE_ALL(0x80);
}

/* Whether all eight characters are digits of base32hex. */
static __always_inline int gate_are_digits(__u64 text) {
  const __u64 low = text & GATE_ALL(0x7f);
  const __u64 good = gate_between(low, '0', '9') | gate_between(low | GATE_ALL(0x20), 'a', 'v');
  return (good & ~text & GATE_ALL(0x80)) == GATE_ALL(0x80);
}

static __always_inline __u64 gate_lower_case(__u64 text) {
  return text + ((gate_between(text & GATE_ALL(0x7f), 'A', 'Z') & ~text) >> 2);
}

/* The text of the frame once more: no other character stands for a digit, and the last digit has no bits behind the
 * frame. */
static __always_inline int gate_has_digits(const __u64 *q) {
  const __u8 last = ((const __u8 *)q)[GATE_QUERY_AT + 118] | 0x20;
  if (last != '0' && last != '8' && last != 'g' && last != 'o') return 0;
  return gate_are_digits(GATE_GROUP_0(q)) && gate_are_digits(GATE_GROUP_1(q)) && gate_are_digits(GATE_GROUP_2(q)) &&
         gate_are_digits(GATE_GROUP_3(q)) && gate_are_digits(GATE_GROUP_4(q)) && gate_are_digits(GATE_GROUP_5(q)) &&
         gate_are_digits(GATE_GROUP_6(q)) && gate_are_digits(GATE_GROUP_7(q)) && gate_are_digits(GATE_GROUP_8(q)) &&
         gate_are_digits(GATE_GROUP_9(q)) && gate_are_digits(GATE_GROUP_10(q)) && gate_are_digits(GATE_GROUP_11(q)) &&
         gate_are_digits(GATE_GROUP_12(q));
}

/* 64 octets behind the frame's labels, in lower case. */
struct gate_text {
  __u64 w[8];
};

/* The size of this suffix when the text begins with it, else 0. Not static, see siphash.bpf.h. */
__noinline __u32 gate_size_if_suffix(__u32 index, const struct gate_text *text) {
  const struct gate_suffix *suffix = bpf_map_lookup_elem(&gate_suffixes, &index);
  if (!suffix || !text) return 0;
  __u64 other = 0;
#pragma unroll
  for (__u32 k = 0; k < 8; ++k) other |= (text->w[k] ^ suffix->text[k]) & suffix->mask[k];
  return other ? 0 : suffix->size;
}

/* 0: none of ours. */
static __always_inline __u32 gate_suffix_of(const struct gate_config *config, __u64 *q) {
  const __u32 suffixes = config->dns_suffixes;
#pragma unroll
  for (__u32 k = 0; k < 8; ++k) q[k] = gate_lower_case(q[k]);
  __u32 size = 0;
#pragma unroll
  for (__u32 i = 0; i < GATE_MAX_DNS_SUFFIXES; ++i) {
    if (!size && i < suffixes) size = gate_size_if_suffix(i, (const struct gate_text *)q);
  }
  return size;
}

/* Type A or AAAA, class IN, an OPT record with options up to the end. */
static __always_inline int gate_is_query_tail(const __u64 *q, __u32 options) {
  const __u64 start = bpf_be64_to_cpu(q[0]);
  const __u64 type = start >> 48;
  const __u8 *octets = (const __u8 *)q;
  if ((type != 1 && type != 28) || (start >> 8 & 0xffffffffffULL) != 0x0001000029ULL) return 0;
  return ((__u32)octets[13] << 8 | octets[14]) == options;
}

/* All of parse_dns_carrier that does not show in P. Loads again, to q, what the frame was made from: few get here. */
static __noinline int gate_is_exact_query(const struct __sk_buff *skb, const struct gate_config *config, __u32 size,
                                          __u64 *q) {
  if (size < GATE_LEAST_QUERY || size > 512) return 0;
  if (gate_load(skb, 0, (__u8 *)q + GATE_QUERY_AT, GATE_QUERY) || !gate_has_digits(q)) return 0;
  if (config->flags & GATE_FLAG_ANY_SUFFIX) return 1;
  q[0] = q[1] = q[2] = q[3] = q[4] = q[5] = q[6] = q[7] = 0;
  const __u32 behind = size - GATE_SUFFIX_AT;
  const __u32 some = behind < 64 ? behind : 64;
  if (some == 0 || some > 64 || gate_load(skb, GATE_SUFFIX_AT, q, some)) return 0;
  const __u32 suffix = gate_suffix_of(config, q);
  if (suffix == 0 || suffix > 64 || size < GATE_SUFFIX_AT + suffix + GATE_QUERY_TAIL) return 0;
  if (gate_load(skb, GATE_SUFFIX_AT + suffix, q, GATE_QUERY_TAIL)) return 0;
  return gate_is_query_tail(q, size - (GATE_SUFFIX_AT + suffix + GATE_QUERY_TAIL));
}

/* One question and one additional record, a first label of 26; RD, AD and CD are free. */
static __always_inline int gate_is_query_head(const __u64 *q) {
  const __u8 *octets = (const __u8 *)q + GATE_QUERY_AT;
  return !(octets[2] & 0xfe) && !(octets[3] & 0xcf) && octets[4] == 0 &&
         q[1] == bpf_cpu_to_be64(0x010000000000011aULL) &&
         octets[39] == 26 && octets[66] == 26 && octets[93] == 25;
}

/* `q`: the datagram's first GATE_QUERY octets from the fourth on; becomes the frame. */
static __always_inline enum gate_verdict gate_dns_knock(const struct __sk_buff *skb, const struct gate_config *config,
                                                        __u32 size, __u64 *q) {
  if (size > 512 || !gate_is_query_head(q)) return GATE_NO_SHAPE;
  gate_frame_from_text(q);
  __u32 place;
  const enum gate_verdict verdict = gate_check_frame(config, q, GATE_TR_DNS, GATE_KNOCK, &place, q + 8);
  if (verdict != GATE_KNOCK) return verdict;
  const __u64 tag = q[7];
  if (!gate_is_exact_query(skb, config, size, q)) return GATE_NO_SHAPE;
  /* Which of its shapes is the real one is for user space to say. */
  if (config->flags & GATE_FLAG_ANY_SUFFIX) return GATE_KNOCK;
  return gate_count_copy(tag, GATE_TR_DNS) ? GATE_COPY : GATE_KNOCK;
}
