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

/* The first 93 octets of a datagram that has so many, enough for a knock, fetched at once: a helper's call costs more
 * than what it copies. They begin at the sixth octet, so that the frame lies on words. */
#define GATE_HEAD 93
#define GATE_HEAD_AT 5
#define GATE_FRAME_AT 4 /* word */
struct gate_head {
  __u64 q[16];
};

static __always_inline __u8 *gate_octets_of(struct gate_head *head) { return (__u8 *)head->q + GATE_HEAD_AT; }

/* Of shorter datagrams what tells them apart. Nothing that we take has fewer than 12 octets. */
#define GATE_LEAST 12

static __always_inline int gate_load_head(const struct __sk_buff *skb, __u32 size, struct gate_head *head) {
  if (size < GATE_LEAST) return -1;
  __u8 *octets = (__u8 *)head->q + GATE_HEAD_AT;
  /* When there are fewer the helper clears them all. */
  return gate_load(skb, 0, octets, GATE_HEAD) ? gate_load(skb, 0, octets, GATE_LEAST) : 0;
}

/* Section 1.4. Exactly the shape that parse_udp_carrier takes. */
static __always_inline int gate_is_dtls_hello(__u32 size, const struct gate_head *head) {
  const __u64 *q = head->q;
  const __u8 *octets = (const __u8 *)q + GATE_HEAD_AT;
  const __u64 body = size - 25;
  if (size <= 93 || size > 512) return 0;
  if (octets[0] != 0x16 || octets[1] != 0xfe || octets[2] != 0xfd || q[1] != 0) return 0;
  if (bpf_be64_to_cpu(q[2]) != (((body + 12) << 48) | (1ULL << 40) | (body << 16))) return 0;
  if (bpf_be64_to_cpu(q[3]) != ((body << 16) | 0xfefd)) return 0;
  return octets[59] == 32 && octets[92] == 0;
}

static __always_inline enum gate_verdict gate_dtls_knock(const struct gate_config *config, __u32 size,
                                                         struct gate_head *head) {
  __u64 *frame = head->q + GATE_FRAME_AT;
  __u32 place;
  if (!gate_is_dtls_hello(size, head)) return GATE_NO_SHAPE;
  gate_hello_to_host(frame);
  const enum gate_verdict verdict = gate_check_frame(config, frame, GATE_TR_UDP, GATE_KNOCK, &place, frame - 1);
  return verdict == GATE_KNOCK && gate_count_copy(frame[7], GATE_TR_UDP) ? GATE_COPY : verdict;
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

static __always_inline int gate_has_own_tag(const struct gate_config *config, __u64 word, __u64 tag) {
  for (__u32 i = 0; i < GATE_MAX_CONNECTION_ID_KEYS; ++i) {
    __u32 index = i;
    if (i >= config->connection_id_keys) return 0;
    const struct gate_sip_key *key = bpf_map_lookup_elem(&gate_cid_keys, &index);
    if (!key) return 0;
    if (gate_siphash_two(key, word, GATE_LAST_WORD(8, 0)) == tag) return 1;
  }
  return 0;
}

/* Section 1.7: eight octets and their hash, big-endian. */
static __noinline int gate_is_own_id(const struct __sk_buff *skb, const struct gate_config *config, __u32 at) {
  __u64 id[2];
  if (at > 64 || gate_load(skb, at, id, 16)) return 0;
  return gate_has_own_tag(config, GATE_LE64(id[0]), bpf_be64_to_cpu(id[1]));
}

/* Retransmissions of an Initial carry its token again: some pass from one source. User space tells copies. Under the
 * device's key, or a thief could choose an address that counts as the client's. */
static __always_inline __u32 gate_count_initial(const struct __sk_buff *skb, __u32 place, __u64 tag) {
  struct gate_endpoint from;
  const struct gate_hint *hint = bpf_map_lookup_elem(&gate_hints, &place);
  if (!hint || gate_source_of(skb, &from)) return 0;
  const __u64 last = GATE_LAST_WORD(18, from.port);
  const __u64 half = gate_siphash_one(hint->prefilter.k0, hint->prefilter.k1, from.ip.high ^ last);
  return gate_count_copy(tag, gate_siphash_one(hint->prefilter.k0, hint->prefilter.k1, from.ip.low ^ half));
}

/* RFC 9000 section 16, in big-endian octets: the length of what follows is not beyond the datagram. `rest` counts from
 * the first octet of the number on. */
static __always_inline int gate_fits(__u64 number, __u32 rest) {
  const __u32 bits = (1u << (number >> 62)) * 8;
  const __u64 value = (number << 2 >> 2) >> (64 - bits);
  return value <= rest - bits / 8;
}

/* The octet behind the first connection id, of 8 to 20 octets. Without a call: it is among those that were loaded. And
 * without a branch: no pointer may move by a register, and 13 ways would be looked at one by one. */
static __always_inline __u32 gate_octet_behind(const __u8 *octets, __u32 dcid) {
  __u32 found = 0;
#pragma unroll
  for (__u32 i = 8; i <= 20; ++i) {
    found |= octets[6 + i] & (0 - (((dcid ^ i) - 1) >> 31));
    GATE_READ_AFTER(found);
  }
  return found;
}

/* Section 1.6: version 1 or 2, connection ids of 8 to 20 and up to 20, a token of 64 octets, 1200 octets in all. */
static __always_inline enum gate_verdict gate_initial(const struct __sk_buff *skb, const struct gate_config *config,
                                                      __u32 size, struct gate_head *head) {
  const __u8 *octets = gate_octets_of(head);
  __u64 *frame = head->q + GATE_FRAME_AT;
  const __u8 type = octets[0] & 0xf0;
  const __u32 version = (__u32)octets[1] << 24 | octets[2] << 16 | octets[3] << 8 | octets[4];
  if (size < 1200) return GATE_FOREIGN_ID;
  if (!(version == 1 && type == 0xc0) && !(version == 0x6b3343cf && type == 0xd0)) return GATE_FOREIGN_ID;
  const __u32 dcid = octets[5];
  const __u32 scid = gate_octet_behind(octets, dcid);
  if (dcid < 8 || dcid > 20 || scid > 20) return GATE_FOREIGN_ID;
  const __u32 at = 7 + dcid + scid;
  /* The token's length, in front of the frame, and the eight octets behind it. */
  if (gate_load(skb, at, (__u8 *)frame - 2, 2 + 64 + 8)) return GATE_FOREIGN_ID;
  if (((const __u8 *)frame)[-2] != 0x40 || ((const __u8 *)frame)[-1] != 0x40) return GATE_FOREIGN_ID;
  gate_words_to_host(frame);
  __u32 place;
  const enum gate_verdict verdict = gate_check_frame(config, frame, GATE_TR_TOKEN, GATE_INITIAL, &place, frame - 1);
  if (verdict != GATE_INITIAL) return verdict;
  if (!gate_fits(bpf_be64_to_cpu(frame[8]), size - (at + 66))) return GATE_FOREIGN_ID;
  return gate_count_initial(skb, place, frame[7]) < GATE_MAX_INITIALS ? GATE_INITIAL : GATE_COPY;
}

static __always_inline enum gate_verdict gate_quic(const struct __sk_buff *skb, const struct gate_config *config,
                                                   __u32 size, struct gate_head *head) {
  const __u8 *octets = gate_octets_of(head);
  /* The fixed bit: nobody here greases it (RFC 9443 section 2). */
  if (size < 1 + 16 || !(octets[0] & 0x40)) return GATE_NO_SHAPE;
  if (!(octets[0] & 0x80)) return gate_is_own_id(skb, config, 1) ? GATE_CONNECTION_ID : GATE_FOREIGN_ID;
  if (octets[5] == 16 && gate_is_own_id(skb, config, 6)) return GATE_CONNECTION_ID;
  return gate_initial(skb, config, size, head);
}
