/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a packet came from, in natt::IpAddress's form. */

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>

#include "gate_maps.bpf.h"

/* A filter's data begins at the transport header, where both UDP and TCP have the source port; the addresses are
 * read relative to the network header. Not 0: the packet is odd. */
static __noinline int gate_source_of(const struct __sk_buff *skb, struct gate_endpoint *from) {
  __u16 port = 0;
  from->ip.high = 0;
  from->ip.low = 0;
  from->port = 0;
  if (bpf_skb_load_bytes(skb, 0, &port, 2)) return -1;
  from->port = port;
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return (int)bpf_skb_load_bytes_relative(skb, 8, &from->ip, 16, BPF_HDR_START_NET);
  if (skb->protocol != bpf_htons(ETH_P_IP)) return -1;
  __u32 v4[2] = {bpf_htonl(0xffff), 0};
  if (bpf_skb_load_bytes_relative(skb, 12, &v4[1], 4, BPF_HDR_START_NET)) return -1;
  __builtin_memcpy(&from->ip.low, v4, 8);
  return 0;
}
