/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REVOCATION: when a roster without the device is in force, nothing that the device had or has works any more: no
 * frame, no repeated Initial, no UDP grant, no hello that was held for a knock, no channel, no STUN answer, no relayed
 * packet (docs/THREAT_MODEL.md section 2, "stolen device"; docs/WIRE.md section 6).
 *
 * Abstractions
 *   One device, one of everything it can hold; what expires does so at any moment. The roster's change is one step, as
 *   it is one turn of the broker's loop: BrokerSite::accept (keys, RosterLoader::restrict), SignalHub (channels and
 *   handshakes), Broker::Impl::end_device (relay, STUN, UDP grants, sessions). The device may come back and go again.
 *
 * Transitions         stand for
 *   frame, initial    Verifier::Core::locate: no hint, no verdict, cached or not
 *   knock             TcpDoor::on_knock; a grant that is there: AddressGrants::redeem
 *   hello             SignalAdmission::Impl::decide; held ones: release_held
 *   mode              SignalAdmission::set_wants_knock (a reload changes the mode)
 *   revoke            the change of roster
 *
 * Broken on purpose, each has to fail:
 *   KEEP_KEYS       its keys stay in the verifier
 *   CACHED_VERDICT  the verdict of an Initial is found before the hint is looked up
 *   KEEP_GRANT      UDP grants stay
 *   KEEP_CHANNEL    channels stay
 *   KEEP_STUN       credentials stay
 *   KEEP_RELAY      grants that the relay has sealed go on
 *   KEEP_HELD       a hello that waits for its knock (up to 3 s) is not dropped, so that a change of the mode to `tcp`
 *                   meanwhile admits it
 *   KEEP_SOURCE     the kernel goes on letting SYNs of the address through, at tcp_visibility ip, for up to 10 s
 */

bool is_member = true;
bool has_keys = true;
bool has_verdict, has_grant, has_source, is_held, has_channel, has_stun, has_relay;
bool wants_knock = true;

/* What an assertion is called in tests/formal/run.sh: never true. */
hidden byte knock, syn_ack, grant, hello, initial, channel, stun, relay;
#define CHECK(what) assert(is_member || what)

inline revoke() {
  d_step {
    is_member = false;
#ifndef KEEP_KEYS
    has_keys = false;
#endif
#ifndef KEEP_GRANT
    has_grant = false;
#endif
#ifndef KEEP_CHANNEL
    has_channel = false;
#endif
#ifndef KEEP_STUN
    has_stun = false;
#endif
#ifndef KEEP_RELAY
    has_relay = false;
#endif
#ifndef KEEP_SOURCE
    has_source = false;
#endif
#ifndef KEEP_HELD
    is_held = false
#endif
  }
}

inline admit() {
  CHECK(hello);
  is_held = false;
  has_channel = true
}

active proctype world() {
end:
  do
  :: is_member -> revoke()
  :: !is_member -> d_step { is_member = true; has_keys = true }
  /* A knock over UDP: the grant, and what it sets free. */
  :: has_keys ->
       atomic {
         CHECK(knock);
         has_grant = true;
         has_source = true;
         if
         :: is_held -> admit()
         :: else
         fi
       }
  :: has_grant -> has_grant = false
  :: has_source -> has_source = false
  :: has_source -> CHECK(syn_ack)
  /* A hello on TCP. */
  :: has_keys && (has_grant || !wants_knock) -> atomic { admit() }
  :: has_keys && !has_grant && wants_knock -> is_held = true
  :: is_held -> is_held = false
  /* A connection that was accepted before may bring its hello at any time: without keys it is refused. */
  :: has_grant -> CHECK(grant)
  :: wants_knock ->
       atomic {
         wants_knock = false;
         if
         :: is_held -> admit()
         :: else
         fi
       }
  :: !wants_knock -> wants_knock = true
  /* QUIC at the gateway. */
  :: has_keys -> atomic { CHECK(knock); has_verdict = true }
#ifdef CACHED_VERDICT
  :: has_verdict -> CHECK(initial)
#else
  :: has_verdict && has_keys -> CHECK(initial)
#endif
  :: has_verdict -> has_verdict = false
  /* Behind the channel. */
  :: has_channel -> atomic { CHECK(channel); has_stun = true; has_relay = true }
  :: has_channel -> has_channel = false
  :: has_stun -> CHECK(stun)
  :: has_relay -> CHECK(relay)
  :: has_stun -> has_stun = false
  :: has_relay -> has_relay = false
  od
}
