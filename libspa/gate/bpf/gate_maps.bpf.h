/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The maps, shared by all programs of one gate. Sizes marked * are set before loading. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "gate_abi.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct gate_config);
} gate_config SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, GATE_MAX_VERIFIERS);
  __type(key, __u32);
  __type(value, struct gate_sip_key);
} gate_masks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, GATE_MAX_STUN_KEYS);
  __type(key, __u32);
  __type(value, struct gate_sip_key);
} gate_stun_keys SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, GATE_MAX_CONNECTION_ID_KEYS);
  __type(key, __u32);
  __type(value, struct gate_sip_key);
} gate_cid_keys SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, GATE_MAX_DNS_SUFFIXES);
  __type(key, __u32);
  __type(value, struct gate_suffix);
} gate_suffixes SEC(".maps");

/* Not a hash map: a lookup there costs three calls and two cache misses, and an update a system call. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* * */
  __type(key, __u32);
  __type(value, struct gate_hint);
} gate_hints SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* * */
  __type(key, __u32);
  __type(value, __u64);
} gate_filter SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1); /* * */
  __type(key, struct gate_copy);
  __type(value, __u32);
} gate_copies SEC(".maps");

/* P of a TCP frame to the (IP, port) that showed it first. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1); /* * */
  __type(key, __u64);
  __type(value, struct gate_endpoint);
} gate_owners SEC(".maps");

/* Connections whose SYN has passed, to when that is forgotten. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1); /* * */
  __type(key, struct gate_endpoint);
  __type(value, __u64);
} gate_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1); /* * */
  __type(key, struct gate_address);
  __type(value, struct gate_source);
} gate_sources SEC(".maps");

/* STUN transactions that a tunnel socket began, to when their answers come too late. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1); /* * */
  __type(key, struct gate_transaction);
  __type(value, __u64);
} gate_awaited SEC(".maps");

/* (IP, port, kind of answer) to when it is no longer taken. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, GATE_MAX_ANSWERERS);
  __type(key, struct gate_endpoint);
  __type(value, __u64);
} gate_answerers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, GATE_VERDICTS);
  __type(key, __u32);
  __type(value, __u64);
} gate_verdicts SEC(".maps");

static __always_inline void gate_count(__u32 verdict) {
  __u64 *count = bpf_map_lookup_elem(&gate_verdicts, &verdict);
  if (count) ++*count;
}

static __always_inline const struct gate_config *gate_settings(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&gate_config, &zero);
}
