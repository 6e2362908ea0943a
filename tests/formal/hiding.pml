/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HIDING: broker and gateway send nothing to an endpoint that has not proved itself with a frame of its own, although
 * it shares its public address with one that has (docs/WIRE.md sections 1.3 to 1.6, 4 and 6; docs/decisions/0004 and
 * 0007).
 *
 * Endpoints, as the broker sees them: 0 the victim's, 1 a neighbour behind the same NAT (same address, another port), 2
 * a copier at another address. 1 and 2 are the attacker. It reads everything that the victim sends, once it has arrived
 * (THIEF: also before, and then the victim's packet may be lost), and sends it from 1 and 2, in any order and as often
 * as it likes, and SYNs and hellos of its own. It makes no frame of its own: it knows no key.
 *
 * MODE_TCP  mode tcp, tcp_visibility syn: to the attacker neither SYN-ACK nor TLS nor UDP.
 * MODE_UDP  mode udp-tcp, tcp_visibility ip. Weaker: in the ten seconds of a knock from the shared address the
 *           neighbour may get a SYN-ACK, and more of them for its flow; neither TLS nor UDP. The copier elsewhere gets
 *           nothing.
 *
 * Abstractions
 *   Frames    one for each carrier, all of the victim. Hint, P and AEAD hold; what they bind is compared: carrier, and
 *             record 2 (hello). The set of nonces and its journal are exact (replay.pml).
 *   Time      what lives for some seconds (flow, allowed source, UDP grant, verdict of an Initial) ends at any moment.
 *   Owners    the table of P and its owner forgets nothing within a run. In the code it is an LRU of 65,536, and a P of
 *             a slot counts for three minutes.
 *   Counts    8 SYNs and 8 uses of a grant are two here.
 *
 * Transitions       stand for
 *   gate_segment    gate_segment, gate_claim, gate_takes_source (libspa/gate/bpf/tcp.bpf.h)
 *   records         SignalAdmission::Impl::read, decide, admit (libnatt/src/signal/signal_admission.cc),
 *                   Verifier::Core::judge
 *   knock           TcpDoor::on_knock (libnatt/src/uv/broker/tcp_door.cc), AddressGrants::on_knock
 *   redeem          AddressGrants::redeem, TcpDoor::handle_opened
 *   end_source      the lifetime of a grant and of the kernel's entry for it
 *   initial         Verifier::verify_initial, admit_repeat (verdict cache)
 *   stun            StunServer::admit (libnatt/src/stun/stun_server.cc)
 *   bind            RelayServer::Impl::handle_bind, advance_counter, answer_leg (libnatt/src/relay/relay_control.cc)
 *   restart         a broker that is killed and comes back: the journal brings the nonces, everything else is empty
 *
 * Broken on purpose, each has to fail: IP_ONLY  an address grant admits whoever connects from there (the flaw of SDP
 * and fwknop behind NAT); NO_TRANSPORT  carrier not bound in P and AEAD; NO_BINDING  record 2 not bound;
 * NO_OWNER  no first (IP, port) of a P; VERDICT_BY_NONCE  a repeated Initial passes from anywhere; STUN_BY_NONCE  so
 * does a STUN request; BIND_AGAIN  a bind with an equal counter counts; EARLY_TLS  a connection is answered when its
 * first record has come; SOURCE_FOREVER  the kernel's entry for a source has no end.
 *
 * BOUND: frames name the address that they are for (docs/WIRE.md section 1.3, address-bound). With THIEF and ELSEWHERE,
 * which asks for no more than that another address gets no first flight, it holds; without BOUND that fails.
 *
 * What does not hold, and is asserted to fail so that nobody forgets it (docs/THREAT_MODEL.md section 7):
 *   RESTART   the gate's table of owners and the relay's counters do not outlive the process: a SYN or a bind that was
 *             captured before gets a SYN-ACK or a challenge afterwards. TLS_ONLY shows that nothing more does.
 *   REUSE     a flow passes for 10 s: a host that gets the victim's port from the NAT meanwhile gets a SYN-ACK.
 *   THIEF     who overtakes the victim, or gets there in its stead because a packet was lost, has its packets: SYN-ACK,
 *             and the first flight, sealed for the victim.
 */

#define NOBODY 9
#define IP(e) ((e) == 2)
#define IS_ATTACKER(e) ((e) != 0 || victim_port_moved)

/* Frames on TCP: the one made for it, or one of another carrier. */
#define OF_TCP 0
#define OF_UDP 1
#define NO_FRAME 2

bool victim_port_moved;

/* What the attacker has. */
bool has_syn, has_hello, has_knock, has_initial, has_stun, has_bind;
/* What the victim has sent. */
bool sent_syn, sent_knock, sent_initial, sent_stun, sent_bind;

/* Kernel gate. */
byte owner[2] = NOBODY;
bool flow[3];
byte allowed[2];

/* Verifier, admission, grants. */
bool is_used[2], is_used_initial;
mtype = { kNone, kOpen, kHeld, kAdmitted, kSilenced };
mtype connection[3] = kNone;
byte grant_uses[2];
byte verdict = NOBODY;
byte stun_source = NOBODY;
bool is_bound_once;
bool has_knocked[2]; /* and what it opened is open yet */
/* What an assertion is called in tests/formal/run.sh: never true. */
hidden byte syn_ack, first_flight, datagram, challenge;

#ifdef TLS_ONLY
#define emit_syn_ack(e) skip
#define emit_challenge(e) skip
#else
#ifdef MODE_UDP
#define emit_syn_ack(e) assert(!IS_ATTACKER(e) || has_knocked[IP(e)] || flow[e] || syn_ack)
#else
#define emit_syn_ack(e) assert(!IS_ATTACKER(e) || syn_ack)
#endif
#define emit_challenge(e) assert(!IS_ATTACKER(e) || challenge)
#endif
#ifdef ELSEWHERE
#define IS_IN_VIEW(e) (IP(e) != IP(0))
#else
#define IS_IN_VIEW(e) true
#endif
#define emit_tls(e) assert(!IS_ATTACKER(e) || !IS_IN_VIEW(e) || first_flight)
#define emit_udp(e) assert(!IS_ATTACKER(e) || datagram)

inline answer_syn(e) {
  emit_syn_ack(e);
  flow[e] = true;
#ifdef IP_ONLY
  if
  :: grant_uses[IP(e)] > 0 -> emit_tls(e)
  :: else
  fi;
#endif
  if
  :: connection[e] == kNone -> connection[e] = kOpen
  :: else
  fi
}

#ifdef NO_TRANSPORT
#define IS_P_RIGHT(f) ((f) != NO_FRAME)
#else
#define IS_P_RIGHT(f) ((f) == OF_TCP)
#endif
#ifdef NO_OWNER
#define MAY_CLAIM(f, e) true
#else
#define MAY_CLAIM(f, e) (owner[f] == NOBODY || owner[f] == e)
#endif

inline gate_segment(e, f) {
  atomic {
    if
    :: flow[e] -> answer_syn(e)
    :: !flow[e] && IS_P_RIGHT(f) ->
         if
         :: MAY_CLAIM(f, e) -> owner[f] = e; answer_syn(e)
         :: else
         fi
#ifdef MODE_UDP
    :: !flow[e] && f == NO_FRAME && allowed[IP(e)] > 0 -> allowed[IP(e)]--; answer_syn(e)
#endif
    :: else
    fi
  }
}

inline redeem(e) {
  atomic {
    if
    :: grant_uses[IP(e)] > 0 ->
         grant_uses[IP(e)]--;
         allowed[IP(e)] = 0;
         connection[e] = kAdmitted;
         emit_tls(e)
    :: else -> connection[e] = kHeld
    fi
  }
}

#ifdef MODE_UDP
#define admit(e) redeem(e)
#else
#define admit(e) connection[e] = kAdmitted; emit_tls(e)
#endif

/* Records 1 and 2; `is_its_hello` when record 2 is the one that the frame was made for. */
inline records(e, f, is_its_hello) {
  atomic {
#ifdef EARLY_TLS
    emit_tls(e);
#endif
    if
    :: connection[e] == kOpen && IS_P_RIGHT(f) && !is_used[f] &&
#ifndef NO_BINDING
       is_its_hello &&
#endif
#ifdef BOUND
       IP(e) == IP(0) &&
#endif
       true -> is_used[f] = true; admit(e)
#ifdef BOUND
    /* The nonce is remembered before the address is compared. */
    :: connection[e] == kOpen && IS_P_RIGHT(f) && !is_used[f] && is_its_hello && IP(e) != IP(0) ->
         is_used[f] = true; connection[e] = kSilenced
#endif
    :: else -> connection[e] = kSilenced
    fi
  }
}

inline knock(e) {
  atomic {
    if
    :: !is_used[OF_UDP] ->
         is_used[OF_UDP] = true;
#ifdef BOUND
         if
         :: IP(e) == IP(0) -> open_source(e)
         :: else
         fi
#else
         open_source(e)
#endif
    :: else
    fi
  }
}

inline open_source(e) {
  has_knocked[IP(e)] = true;
  grant_uses[IP(e)] = 2;
  allowed[IP(e)] = 2;
#ifdef MODE_UDP
  if
  :: connection[0] == kHeld && IP(e) == IP(0) -> redeem(0)
  :: else
  fi;
  if
  :: connection[1] == kHeld && IP(e) == IP(1) -> redeem(1)
  :: else
  fi;
  if
  :: connection[2] == kHeld && IP(e) == IP(2) -> redeem(2)
  :: else
  fi
#endif
}

inline initial(e) {
  atomic {
    if
    :: !is_used_initial -> is_used_initial = true; verdict = e; emit_udp(e)
#ifdef VERDICT_BY_NONCE
    :: is_used_initial && verdict != NOBODY -> emit_udp(e)
#else
    :: is_used_initial && verdict == e -> emit_udp(e)
#endif
    :: else
    fi
  }
}

/* Known from elsewhere: a replay. From there: a retransmission. */
inline stun(e) {
  atomic {
    if
    :: stun_source == NOBODY -> stun_source = e; emit_udp(e)
#ifdef STUN_BY_NONCE
    :: stun_source != NOBODY -> emit_udp(e)
#else
    :: stun_source == e -> emit_udp(e)
#endif
    :: else
    fi
  }
}

inline bind(e) {
  atomic {
    if
    :: !is_bound_once -> is_bound_once = true; emit_challenge(e)
#ifdef BIND_AGAIN
    :: is_bound_once -> emit_challenge(e)
#endif
    :: else
    fi
  }
}

/* Connections die with the process. STUN credentials do too; relay grants do not. */
inline restart() {
  d_step {
    owner[0] = NOBODY; owner[1] = NOBODY;
    flow[0] = false; flow[1] = false; flow[2] = false;
    allowed[0] = 0; allowed[1] = 0;
    connection[0] = kNone; connection[1] = kNone; connection[2] = kNone;
    grant_uses[0] = 0; grant_uses[1] = 0;
    has_knocked[0] = false; has_knocked[1] = false;
    verdict = NOBODY;
    has_stun = false;
    is_bound_once = false
  }
}

active proctype victim() {
end:
  do
  :: !sent_syn -> sent_syn = true;
       if
       :: true -> atomic { gate_segment(0, OF_TCP); has_syn = true }
#ifdef THIEF
       :: has_syn = true
       :: has_syn = true; has_hello = true
#endif
       fi
  /* Linux does not repeat the data of a SYN. */
  :: sent_syn && !victim_port_moved -> gate_segment(0, NO_FRAME)
  :: atomic { connection[0] == kOpen && !victim_port_moved && sent_syn -> records(0, OF_TCP, true); has_hello = true }
  :: !sent_knock -> sent_knock = true;
       if
       :: true -> atomic { knock(0); has_knock = true }
#ifdef THIEF
       :: has_knock = true
#endif
       fi
  :: !sent_initial -> sent_initial = true; atomic { initial(0); has_initial = true }
  :: sent_initial && !victim_port_moved -> initial(0)
  :: atomic { connection[0] == kAdmitted && !sent_stun -> sent_stun = true; stun(0); has_stun = true }
  :: atomic { connection[0] == kAdmitted && !sent_bind -> sent_bind = true; bind(0); has_bind = true }
#ifdef REUSE
  /* The victim's socket is closed, its mapping gone, and the NAT gives the port to somebody else behind it. */
  :: sent_syn && sent_knock && sent_initial && !victim_port_moved ->
       atomic { victim_port_moved = true; connection[0] = kNone; verdict = NOBODY; grant_uses[0] = 0; allowed[0] = 0 }
#endif
  od
}

#define TURN(e)                                                        \
  :: true -> gate_segment(e, NO_FRAME)                                 \
  :: has_syn -> gate_segment(e, OF_TCP)                                \
  :: has_knock -> gate_segment(e, OF_UDP)                              \
  :: connection[e] == kOpen && has_syn && has_hello -> records(e, OF_TCP, true) \
  :: connection[e] == kOpen && has_syn -> records(e, OF_TCP, false)    \
  :: connection[e] == kOpen && has_knock -> records(e, OF_UDP, false)  \
  :: connection[e] == kOpen -> records(e, NO_FRAME, false)             \
  :: connection[e] == kSilenced -> connection[e] = kNone               \
  :: has_knock -> knock(e)                                             \
  :: has_initial -> initial(e)                                         \
  :: has_stun -> stun(e)                                               \
  :: has_bind -> bind(e)

active proctype attacker() {
end:
  do
  TURN(1)
  TURN(2)
#ifdef REUSE
  :: victim_port_moved -> gate_segment(0, NO_FRAME)
#endif
  od
}

/* The ten seconds of a knock are over, for grant and kernel at once: one who comes later got no SYN-ACK by it. */
inline end_source(address) {
  d_step {
    has_knocked[address] = false;
    grant_uses[address] = 0;
#ifndef SOURCE_FOREVER
    allowed[address] = 0
#endif
  }
}

active proctype time() {
end:
  do
  :: flow[0] -> flow[0] = false
  :: flow[1] -> flow[1] = false
  :: flow[2] -> flow[2] = false
  :: has_knocked[0] -> end_source(0)
  :: has_knocked[1] -> end_source(1)
  :: verdict != NOBODY -> verdict = NOBODY
#ifdef RESTART
  :: true -> restart()
#endif
  od
}
