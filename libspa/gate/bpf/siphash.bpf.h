/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SipHash-2-4 (Aumasson, Bernstein 2012) for the four lengths the gate hashes. Fully
 * unrolled: without CAP_PERFMON the verifier allows no pointer that moves by a register. */

#include <linux/types.h>

#include "gate_abi.h"

struct gate_sip_state {
  __u64 v0, v1, v2, v3;
};

/* Between the octets of SipHash, which is little-endian, and numbers of the machine. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define GATE_LE64(x) __builtin_bswap64(x)
#define GATE_LE32(x) __builtin_bswap32(x)
#else
#define GATE_LE64(x) (x)
#define GATE_LE32(x) (x)
#endif

#define GATE_ROTATE(x, n) (((x) << (n)) | ((x) >> (64 - (n))))
#define GATE_LAST_WORD(length, rest) (((__u64)(length) << 56) | (rest))

static __always_inline void gate_sip_round(struct gate_sip_state *s) {
  s->v0 += s->v1;
  s->v1 = GATE_ROTATE(s->v1, 13);
  s->v1 ^= s->v0;
  s->v0 = GATE_ROTATE(s->v0, 32);
  s->v2 += s->v3;
  s->v3 = GATE_ROTATE(s->v3, 16);
  s->v3 ^= s->v2;
  s->v0 += s->v3;
  s->v3 = GATE_ROTATE(s->v3, 21);
  s->v3 ^= s->v0;
  s->v2 += s->v1;
  s->v1 = GATE_ROTATE(s->v1, 17);
  s->v1 ^= s->v2;
  s->v2 = GATE_ROTATE(s->v2, 32);
}

static __always_inline void gate_sip_start(struct gate_sip_state *s, const struct gate_sip_key *key) {
  s->v0 = key->k0 ^ 0x736f6d6570736575ULL;
  s->v1 = key->k1 ^ 0x646f72616e646f6dULL;
  s->v2 = key->k0 ^ 0x6c7967656e657261ULL;
  s->v3 = key->k1 ^ 0x7465646279746573ULL;
}

static __always_inline void gate_sip_word(struct gate_sip_state *s, __u64 word) {
  s->v3 ^= word;
  gate_sip_round(s);
  gate_sip_round(s);
  s->v0 ^= word;
}

static __always_inline __u64 gate_sip_end(struct gate_sip_state *s) {
  s->v2 ^= 0xff;
  gate_sip_round(s);
  gate_sip_round(s);
  gate_sip_round(s);
  gate_sip_round(s);
  return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* 8 to 15 octets: a whole word and `last`. Up to 7: gate_siphash_short. */
static __always_inline __u64 gate_siphash_two(const struct gate_sip_key *key, __u64 word, __u64 last) {
  struct gate_sip_state s;
  gate_sip_start(&s, key);
  gate_sip_word(&s, word);
  gate_sip_word(&s, last);
  return gate_sip_end(&s);
}

/* The same with a word that lies on the stack. It is read twice: or the compiler, which has no register left for it,
 * would keep it on the stack in a place of its own, and with CAP_BPF alone each such store costs a fence. */
#define GATE_READ_AFTER(value) asm volatile("" : "+r"(value)::"memory")

static __always_inline void gate_sip_word_at(struct gate_sip_state *s, const __u64 *at) {
  s->v3 ^= *at;
  gate_sip_round(s);
  gate_sip_round(s);
  GATE_READ_AFTER(s->v0);
  s->v0 ^= *at;
}

/* 57 octets: the seven words of frame[0..55] and the transport. Inline: a return costs more than the hash of a word
 * where the processor has to be kept from predicting it. */
static __always_inline __u64 gate_siphash_frame(const struct gate_sip_key *key, const __u64 *words, __u64 transport) {
  struct gate_sip_state s;
  gate_sip_start(&s, key);
  gate_sip_word_at(&s, words);
  gate_sip_word_at(&s, words + 1);
  gate_sip_word_at(&s, words + 2);
  gate_sip_word_at(&s, words + 3);
  gate_sip_word_at(&s, words + 4);
  gate_sip_word_at(&s, words + 5);
  gate_sip_word_at(&s, words + 6);
  gate_sip_word(&s, GATE_LAST_WORD(57, transport));
  return gate_sip_end(&s);
}

/* The 12 octets of a nonce, which a frame begins with. */
static __always_inline __u64 gate_siphash_nonce(const struct gate_sip_key *key, const __u64 *words) {
  struct gate_sip_state s;
  gate_sip_start(&s, key);
  gate_sip_word_at(&s, words);
  s.v3 ^= GATE_LAST_WORD(12, words[1] & 0xffffffff);
  gate_sip_round(&s);
  gate_sip_round(&s);
  GATE_READ_AFTER(s.v0);
  s.v0 ^= GATE_LAST_WORD(12, words[1] & 0xffffffff);
  return gate_sip_end(&s);
}

/* The functions below are not static: the verifier looks at such a function once, and not once for each of the ways
 * and turns of loops that lead to it. They take the key's words, because pointers would have to be proved again. */

__noinline __u64 gate_siphash_one(__u64 k0, __u64 k1, __u64 last) {
  const struct gate_sip_key key = {.k0 = k0, .k1 = k1};
  struct gate_sip_state s;
  gate_sip_start(&s, &key);
  gate_sip_word(&s, last);
  return gate_sip_end(&s);
}

/* Up to 7 octets, which are all in `last`. */
static __always_inline __u64 gate_siphash_short(const struct gate_sip_key *key, __u64 last) {
  return gate_siphash_one(key->k0, key->k1, last);
}
