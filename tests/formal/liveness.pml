/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OWNER LIVENESS: whatever is done with copies of what a device has sent, its next fresh knock is granted and its next
 * fresh STUN request answered (docs/WIRE.md section 1.3: nothing cheaper to forge than an AEAD tag charges a device).
 * Said as safety: a fresh frame of a device that keeps to its budget never meets a budget that is used up.
 *
 * The attacker reads each frame when it has arrived, and sends copies at any rate from any source, on its own carrier:
 * as they are; with the frame altered, which only P's key would let pass; or behind another hello or with other
 * connection ids, which P does not cover and the tag does. Who overtakes a frame is not the subject: that one frame is
 * lost (docs/THREAT_MODEL.md section 7).
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
 *   arrive_frame   Verifier::Core::judge: admit_repeat before open (ForgeryMeter::charge), remember, KnockMeter::charge
 *   arrive_syn     gate_segment and gate_claim (libspa/gate/bpf/tcp.bpf.h): known flow, owner, budget, claim
 *   arrive_stun    StunServer::admit (libnatt/src/stun/stun_server.cc)
 *   second         token buckets; `flow_ends`: the ten seconds of a flow
 *
 * Broken on purpose, each has to fail:
 *   CHARGE_FIRST       the knock is charged before the nonce is looked up
 *   SYN_CHARGE_FIRST   a SYN is charged before its P is known to have no other owner
 *   FORGERY_CHARGED    a wrong P is charged as a forged tag
 *   REBOUND_CHARGED    the tag is looked at before the nonce
 *   STUN_CHARGE_FIRST  a STUN request is charged before its nonce is looked up: with ten copies a second of one
 *                      request, from anywhere, its owner gets no answer
 *
 * What does not hold, and is asserted to fail (docs/THREAT_MODEL.md section 7):
 *   UNKNOWN  a frame whose nonce the verifier does not know, though it was seen: lost on the way, or refused for its
 *            time (the minute after a start without a journal). Copies of it with other connection ids, 10,000 a
 *            second, use up the budget of forged tags, and fresh frames are not opened.
 */

/* What an assertion is called in tests/formal/run.sh: never true. */
hidden byte replayed, knock_budget, forgery_budget, memory, syn_budget, syn_owner, stun_budget, stun_replayed;

#define RING 3
#define UNKNOWN_FRAME RING /* never used */
#define OWNER 0
#define ELSEWHERE 1
#define NOBODY 9

bool has_sent[RING]; /* also: has been captured */
bool is_used[RING + 1];
byte owner[RING] = NOBODY;
bool flow[RING]; /* of the owner's endpoint, another for each of its sockets */
bool is_answered[RING];

/* Of the second that runs. */
byte knock_tokens = 1, syn_tokens = 1, stun_tokens = 1, forgery_tokens = 1;
bool owner_may = true;
byte remembered;

#define AS_IT_IS 0
#define ALTERED 1
#define REBOUND 2

inline charge_forgery() { forgery_tokens = (forgery_tokens > 0 -> forgery_tokens - 1 : 0) }

inline arrive_frame(f, is_fresh, change) {
  atomic {
    if
    :: change == ALTERED ->
#ifdef FORGERY_CHARGED
         charge_forgery();
#endif
         skip
    :: change == REBOUND && !is_used[f] -> charge_forgery()
    :: change == REBOUND && is_used[f] ->
#ifdef REBOUND_CHARGED
         charge_forgery();
#endif
         skip
    :: change == AS_IT_IS ->
#ifdef CHARGE_FIRST
         assert(!is_fresh || knock_tokens > 0 || knock_budget);
         knock_tokens = (knock_tokens > 0 -> knock_tokens - 1 : 0);
#endif
         if
         :: !is_used[f] ->
              assert(!is_fresh || forgery_tokens > 0 || forgery_budget);
              is_used[f] = true;
              remembered++;
              assert(remembered <= RING || memory);
#ifndef CHARGE_FIRST
              assert(!is_fresh || knock_tokens > 0 || knock_budget);
              knock_tokens--
#endif
         :: else -> assert(!is_fresh || replayed)
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
         assert(!is_fresh || syn_tokens > 0 || syn_budget);
         syn_tokens = (syn_tokens > 0 -> syn_tokens - 1 : 0);
#endif
         if
         :: owner[f] == NOBODY || owner[f] == from ->
#ifndef SYN_CHARGE_FIRST
              assert(!is_fresh || syn_tokens > 0 || syn_budget);
              syn_tokens = (syn_tokens > 0 -> syn_tokens - 1 : 0);
#endif
              owner[f] = from;
              flow[f] = true
         :: else -> assert(!is_fresh || syn_owner)
         fi
    fi
  }
}

inline arrive_stun(f, from, is_fresh) {
  atomic {
#ifdef STUN_CHARGE_FIRST
    assert(!is_fresh || stun_tokens > 0 || stun_budget);
    stun_tokens = (stun_tokens > 0 -> stun_tokens - 1 : 0);
#endif
    if
    :: is_answered[f] -> assert(!is_fresh || stun_replayed) /* from elsewhere a replay, from there a retransmission */
    :: else ->
#ifndef STUN_CHARGE_FIRST
         assert(!is_fresh || stun_tokens > 0 || stun_budget);
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
       arrive_frame(f, true, AS_IT_IS);
       arrive_syn(f, OWNER, true);
       arrive_stun(f, OWNER, true);
       has_sent[f] = true;
       f = 0
  /* Copies of any of them. */
  :: has_sent[0] -> arrive_frame(0, false, AS_IT_IS)
  :: has_sent[0] -> arrive_frame(0, false, ALTERED)
  :: has_sent[0] -> arrive_frame(0, false, REBOUND)
  :: has_sent[1] -> arrive_frame(1, false, AS_IT_IS)
#ifdef UNKNOWN
  :: arrive_frame(UNKNOWN_FRAME, false, REBOUND)
#endif
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
