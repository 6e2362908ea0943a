/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OWNER LIVENESS: whatever is done with copies of what a device has sent, its next fresh knock is granted and its next
 * fresh STUN request answered (docs/WIRE.md section 1.3: nothing cheaper to forge than an AEAD tag charges a device).
 * Said as safety: a fresh frame of a device that keeps to its budget never meets a budget that is used up.
 *
 * The attacker reads each frame when it has arrived, and sends copies at any rate from any source, on its own carrier;
 * with P and hint right, for it is a copy, or with the rest altered, which only P's key would let pass: then P is
 * wrong. Who overtakes a frame is not the subject: that one frame is lost (docs/THREAT_MODEL.md section 7).
 *
 * Abstractions
 *   Budgets   one token each (in the code 32, 8/s; 256 SYNs/s; 10 STUN requests/s), back after `second`. The owner
 *             sends one frame of a kind in that time. One second of the code is one round here.
 *   Frames    RING of them in each direction of use: a captured frame stays known for ever.
 *   Spoofed   copies of a SYN with the owner's own endpoint as source are left out. Each captured SYN is charged once
 *             in the ten seconds of its flow while its slot counts (3 minutes): 2,560 of them use up 256 a second.
 *   Set       the device's share of the set of nonces never fills by copies: they are in it already. Counted all the
 *             same: `remembered`.
 *
 * Transitions      stand for
 *   arrive_frame   Verifier::Core::judge: admit_repeat before open, remember, KnockMeter::charge
 *   arrive_syn     gate_segment and gate_claim (libspa/gate/bpf/tcp.bpf.h): known flow, owner, budget, claim
 *   arrive_stun    StunServer::admit (libnatt/src/stun/stun_server.cc)
 *   second         token buckets; `flow_ends`: the ten seconds of a flow
 *
 * Broken on purpose, each has to fail: CHARGE_FIRST  the knock is charged before the nonce is looked up;
 * SYN_CHARGE_FIRST a SYN is charged before its P is known to have no other owner; FORGERY_CHARGED  a wrong P is charged
 * as a forged tag; STUN_CHARGE_FIRST  a STUN request is charged before its nonce is looked up: with ten copies a second of
 * one request, from anywhere, its owner gets no answer.
 */

#define RING 3
#define OWNER 0
#define ELSEWHERE 1
#define NOBODY 9

bool has_sent[RING]; /* also: has been captured */
bool is_used[RING];
byte owner[RING] = NOBODY;
bool flow[RING]; /* of the owner's endpoint, another for each of its sockets */
bool is_answered[RING];

/* Of the second that runs. */
byte knock_tokens = 1, syn_tokens = 1, stun_tokens = 1, forgery_tokens = 1;
bool owner_may = true;
byte remembered;

inline arrive_frame(f, is_fresh, is_altered) {
  atomic {
    if
    :: is_altered ->
#ifdef FORGERY_CHARGED
         forgery_tokens = (forgery_tokens > 0 -> forgery_tokens - 1 : 0);
#endif
         skip
    :: else ->
#ifdef CHARGE_FIRST
         assert(!is_fresh || knock_tokens > 0);
         knock_tokens = (knock_tokens > 0 -> knock_tokens - 1 : 0);
#endif
         if
         :: !is_used[f] ->
              assert(!is_fresh || forgery_tokens > 0);
              is_used[f] = true;
              remembered++;
              assert(remembered <= RING);
#ifndef CHARGE_FIRST
              assert(!is_fresh || knock_tokens > 0);
              knock_tokens--
#endif
         :: else -> assert(!is_fresh)
         fi
    fi
  }
}

inline arrive_syn(f, from, is_fresh) {
  atomic {
    if
    :: from == OWNER && flow[f] -> skip
    :: else ->
#ifdef SYN_CHARGE_FIRST
         assert(!is_fresh || syn_tokens > 0);
         syn_tokens = (syn_tokens > 0 -> syn_tokens - 1 : 0);
#endif
         if
         :: owner[f] == NOBODY || owner[f] == from ->
#ifndef SYN_CHARGE_FIRST
              assert(!is_fresh || syn_tokens > 0);
              syn_tokens = (syn_tokens > 0 -> syn_tokens - 1 : 0);
#endif
              owner[f] = from;
              flow[f] = true
         :: else -> assert(!is_fresh)
         fi
    fi
  }
}

inline arrive_stun(f, from, is_fresh) {
  atomic {
#ifdef STUN_CHARGE_FIRST
    assert(!is_fresh || stun_tokens > 0);
    stun_tokens = (stun_tokens > 0 -> stun_tokens - 1 : 0);
#endif
    if
    :: is_answered[f] -> assert(!is_fresh) /* from elsewhere a replay, from there a retransmission */
    :: else ->
#ifndef STUN_CHARGE_FIRST
         assert(!is_fresh || stun_tokens > 0);
         stun_tokens--;
#endif
         is_answered[f] = true
    fi
  }
}

active proctype world() {
  byte f;
end:
  do
  /* The owner: a knock, with its SYN, and a STUN request. */
  :: owner_may && !has_sent[RING - 1] ->
       owner_may = false;
       f = 0;
       do
       :: has_sent[f] -> f++
       :: else -> break
       od;
       arrive_frame(f, true, false);
       arrive_syn(f, OWNER, true);
       arrive_stun(f, OWNER, true);
       has_sent[f] = true;
       f = 0
  /* Copies of any of them. */
  :: has_sent[0] -> arrive_frame(0, false, false)
  :: has_sent[0] -> arrive_frame(0, false, true)
  :: has_sent[1] -> arrive_frame(1, false, false)
  :: has_sent[0] -> arrive_syn(0, ELSEWHERE, false)
  :: has_sent[1] -> arrive_syn(1, ELSEWHERE, false)
  :: has_sent[0] -> arrive_stun(0, ELSEWHERE, false)
  :: has_sent[1] -> arrive_stun(1, ELSEWHERE, false)
  :: flow[0] -> flow[0] = false
  :: flow[1] -> flow[1] = false
  :: !owner_may ->
       d_step { owner_may = true; knock_tokens = 1; syn_tokens = 1; stun_tokens = 1; forgery_tokens = 1 }
  od
}
