/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the eBPF programs and the library share: layout of the maps, and the numbers of the
 * verdicts, which are those of natt::spa::GateVerdict (gate_object.cc asserts it). C and C++. */

#include <linux/types.h>

#define GATE_MAX_VERIFIERS 16
#define GATE_MAX_STUN_KEYS 16
#define GATE_MAX_CONNECTION_ID_KEYS 2
/* Each site's own, and a configured one. */
#define GATE_MAX_DNS_SUFFIXES 17

/* Entries of the LRU maps: a fair share of what comes in the ten seconds they are for. A member who makes SYN after SYN,
 * 256 a second with each of three hints, needs more than a minute to flush one. */
#define GATE_REMEMBERED 65536
/* Who was asked something by a tunnel socket, and may send what a stranger may not. A few for each broker. */
#define GATE_MAX_ANSWERERS 4096

/* Initials of one token from one source: a ClientHello of two packets, sent seven times. */
#define GATE_MAX_INITIALS 16

/* Datagrams with unknown hints pass: the table of hints is full. */
#define GATE_FLAG_INCOMPLETE 1u
/* STUN passes whatever its tag: more keys than the gate takes. */
#define GATE_FLAG_ANY_STUN 2u
/* Nobody has said which suffixes DNS knocks have, or too many: user space looks at them, and for copies. */
#define GATE_FLAG_ANY_SUFFIX 4u

enum gate_verdict {
  GATE_KNOCK,
  GATE_INITIAL,
  GATE_CONNECTION_ID,
  GATE_STUN,
  GATE_RELAY,
  GATE_SYN,
  GATE_SOURCE,
  GATE_FLOW,
  GATE_DNS_ANSWER,
  GATE_UNCHECKED,
  GATE_NO_SHAPE,
  GATE_UNKNOWN_HINT,
  GATE_BAD_PREFILTER,
  GATE_COPY,
  GATE_FOREIGN_ID,
  GATE_BAD_STUN_TAG,
  GATE_BAD_RELAY,
  GATE_BARE_SYN,
  GATE_SYN_BUDGET,
  GATE_STRAY,
  GATE_VERDICTS,
};

/* A SipHash key as its two little-endian words. */
struct gate_sip_key {
  __u64 k0;
  __u64 k1;
};

struct gate_config {
  __u32 verifiers;
  __u32 stun_keys;
  __u32 connection_id_keys;
  __u32 flags;
  __u32 syns_per_second;
  __u32 hint_mask;   /* places - 1 */
  __u32 filter_mask; /* bits - 1 */
  __u32 dns_suffixes;
  __u64 source_lifetime_ns;
  __u64 flow_lifetime_ns;
};

/* One place of the table of hints, which is an array that the library maps into its memory: open addressing from the
 * lowest 32 bits of the hint on, at most GATE_PROBES places far, ended by a hint of 0. */
#define GATE_PROBES 256
/* In front of it a bit for each value of the hint's lowest bits, eight times as many as there are places: strangers end
 * in this half a megabyte (100,000 devices), which stays in the cache, and not in the table, which does not. */
#define GATE_FILTER_BITS_PER_PLACE 8
struct gate_hint {
  __u64 hint; /* the eight octets as they are */
  struct gate_sip_key prefilter;
  __u32 second; /* of the budget */
  __u32 syns;
};

/* What the name of a DNS knock ends in (docs/WIRE.md section 1.4.1): labels and root in lower case, and ones where it
 * has octets. */
struct gate_suffix {
  __u64 text[8];
  __u64 mask[8];
  __u32 size;
  __u32 reserved;
};

/* IPv4 as ::ffff:a.b.c.d. */
struct gate_address {
  __u64 high;
  __u64 low;
};

struct gate_endpoint {
  struct gate_address ip;
  __u64 port; /* as on the wire; wide, so that no octet is left undefined */
};

struct gate_source {
  __u64 expires_ns; /* CLOCK_MONOTONIC */
  __u32 syns_left;
  __u32 reserved;
};

/* A STUN transaction id, as on the wire. */
struct gate_transaction {
  __u32 id[3];
};

/* What an answerer may send; in the upper half of gate_endpoint.port. */
enum gate_answer { GATE_ANSWER_RELAY = 1, GATE_ANSWER_DNS = 2 };

/* A frame that came before: P, and for Initials where from. */
struct gate_copy {
  __u64 tag;
  __u64 source;
};
