/* SPDX-License-Identifier: Apache-2.0 */

/* The gate's SipHash, for comparison with libspa's: a filter for a UNIX datagram socket, whose
 * data is the message. 16 octets of key, then 4, 8, 12 or 57 octets to hash. */

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "siphash.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} siphash_result SEC(".maps");

SEC("socket")
int siphash_probe(struct __sk_buff *skb) {
  struct gate_sip_key key;
  __u64 words[8] = {};
  __u32 zero = 0;
  __u64 hash = 0;
  if (bpf_skb_load_bytes(skb, 0, &key, 16)) return 0;
  key.k0 = GATE_LE64(key.k0);
  key.k1 = GATE_LE64(key.k1);
  if (skb->len == 16 + 4) {
    if (bpf_skb_load_bytes(skb, 16, words, 4)) return 0;
    hash = gate_siphash_short(&key, GATE_LAST_WORD(4, GATE_LE64(words[0])));
  } else if (skb->len == 16 + 8) {
    if (bpf_skb_load_bytes(skb, 16, words, 8)) return 0;
    hash = gate_siphash_two(&key, GATE_LE64(words[0]), GATE_LAST_WORD(8, 0));
  } else if (skb->len == 16 + 12) {
    if (bpf_skb_load_bytes(skb, 16, words, 12)) return 0;
    hash = gate_siphash_two(&key, GATE_LE64(words[0]), GATE_LAST_WORD(12, GATE_LE64(words[1])));
  } else if (skb->len == 16 + 57) {
    if (bpf_skb_load_bytes(skb, 16, words, 57)) return 0;
    hash = gate_siphash_frame(&key, words, GATE_LE64(words[7]));
  }
  bpf_map_update_elem(&siphash_result, &zero, &hash, BPF_ANY);
  return -1;
}

char siphash_license[] SEC("license") = "Apache-2.0";
