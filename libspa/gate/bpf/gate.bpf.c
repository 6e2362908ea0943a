/* SPDX-License-Identifier: Apache-2.0 */

/* The programs of the kernel gate, one for each kind of socket (natt/spa/kernel_gate.h). A
 * filter returns how much of the packet is kept: all of it or nothing. */

#include "dns.bpf.h"
#include "tcp.bpf.h"
#include "udp.bpf.h"

#define GATE_KEEP (-1)
#define GATE_DROP 0

static __always_inline int gate_conclude(enum gate_verdict verdict) {
  gate_count(verdict);
  return verdict < GATE_NO_SHAPE ? GATE_KEEP : GATE_DROP;
}

SEC("socket")
int gate_broker_udp(struct __sk_buff *skb) {
  const struct gate_config *config = gate_settings();
  const __u32 size = gate_datagram_size(skb);
  struct gate_head head;
  if (!config || size > 65535 || gate_load_head(skb, size, &head)) return gate_conclude(GATE_NO_SHAPE);
  const __u8 first = *gate_octets_of(&head);
  if (first == 22) return gate_conclude(gate_dtls_knock(config, size, &head));
  if (first <= 3) return gate_conclude(gate_stun(skb, config, size, GATE_BROKER));
  if (first == 12) return gate_conclude(gate_relay(skb, size, GATE_BROKER));
  return gate_conclude(GATE_NO_SHAPE);
}

SEC("socket")
int gate_broker_dns(struct __sk_buff *skb) {
  const struct gate_config *config = gate_settings();
  const __u32 size = gate_datagram_size(skb);
  __u64 q[16];
  const __u8 *octets = (const __u8 *)q + GATE_QUERY_AT;
  if (!config || size > 65535) return gate_conclude(GATE_NO_SHAPE);
  if (size < GATE_LEAST_QUERY) return gate_conclude(gate_stun(skb, config, size, GATE_BROKER));
  if (gate_load(skb, 0, (__u8 *)q + GATE_QUERY_AT, GATE_QUERY)) return gate_conclude(GATE_NO_SHAPE);
  /* The cookie of STUN, at octets 4 to 7: where a query has its counts. */
  if (octets[0] <= 3 && octets[4] == 0x21) return gate_conclude(gate_stun(skb, config, size, GATE_BROKER));
  return gate_conclude(gate_dns_knock(skb, config, size, q));
}

SEC("socket")
int gate_tunnel_udp(struct __sk_buff *skb) {
  const struct gate_config *config = gate_settings();
  const __u32 size = gate_datagram_size(skb);
  struct gate_head head;
  if (!config || size > 65535 || gate_load_head(skb, size, &head)) return gate_conclude(GATE_NO_SHAPE);
  const __u8 first = *gate_octets_of(&head);
  enum gate_verdict verdict = GATE_NO_SHAPE;
  if (first >= 64) verdict = gate_quic(skb, config, size, &head);
  if (first == 22) verdict = gate_dtls_knock(config, size, &head);
  if (first <= 3) verdict = gate_stun(skb, config, size, GATE_TUNNEL);
  if (first == 12) verdict = gate_relay(skb, size, GATE_TUNNEL);
  /* Its first octet is any. */
  if (verdict >= GATE_NO_SHAPE && gate_is_dns_answer(skb, size, &head)) verdict = GATE_DNS_ANSWER;
  return gate_conclude(verdict);
}

SEC("socket")
int gate_tcp_syn(struct __sk_buff *skb) {
  const struct gate_config *config = gate_settings();
  return gate_conclude(config ? gate_segment(skb, config, 0) : GATE_STRAY);
}

SEC("socket")
int gate_tcp_ip(struct __sk_buff *skb) {
  const struct gate_config *config = gate_settings();
  return gate_conclude(config ? gate_segment(skb, config, 1) : GATE_STRAY);
}

char gate_license[] SEC("license") = "Apache-2.0";
