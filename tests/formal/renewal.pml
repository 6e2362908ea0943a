/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RENEWAL: while a device and its verifier get new SPA keys, in any order, with crashes and with a device that is off,
 * the device is never locked out: at every moment some pair of keys that it will try is one that the verifier takes
 * (docs/WIRE.md section 1.1, "Renewal").
 *
 * Abstractions
 *   Keys      generations, as bits. The device tries all combinations of the two newest of each end in turn
 *             (libnatt/include/natt/key_choice.h), so it gets in when one of them is taken.
 *   Site      one verifier, a device that is used, and one that is off but for a visit now and then. Of the second only
 *             the verifier's keys count.
 *   Folder    `nattctl renew` changes roster and device's file in one commit (tests/unit/apps/nattctl_folder_test.cc),
 *             then people carry them, each when they like, the device's file after the roster (docs/OPERATIONS.md).
 *   Backups   an older file put back is no renewal: its tools tell why it is refused (natt/device_memory.h).
 *   Again     a verifier is renewed when its pair is alone, as docs/OPERATIONS.md says, up to the fourth generation.
 *
 * Transitions             stand for
 *   renew_device          Registrar::renew (apps/nattctl/registrar.cc): the roster lists up to four, the file has two
 *   renew_verifier        the same for a broker: two and two; its file brings the roster
 *   knock                 choose_keys, Verifier::Core::report_new_key and note_own_key_use,
 *                         RosterLoader::handle_key_used
 *   take_own_file         BrokerSite::set_material, InitialVerifier::set_keys: OwnKeys::set
 *   take_roster           RosterLoader::handle_roster, OwnKeys::handle_roster
 *   write_retired         the file of retired keys, appended within a second; `crash` forgets what is not in it
 *   usable                RetiredKeys::usable: all listed but the retired; when that is none, all listed
 *   crash                 the next run has the pairs of its file, without those that it knows to be retired, and has
 *                         seen nobody use anything
 *   retire_own            OwnKeys::retire_used: every device has used the newest while there were two
 *
 * Broken on purpose, each has to fail: RETIRE_AT_ONCE  the roster drops the old key at renewal; RETIRE_ON_LIST  the
 * verifier drops it when it learns of the new one; OWN_AT_ONCE  the verifier drops its older pair when it has a newer
 * one; with ANY_ORDER: NEWEST_ONLY  the device tries nothing but its newest key; FILE_HAS_ONE  the renewed file does
 * not keep the old key.
 *
 * ANY_ORDER: one renewal, and the device's file may come before the roster: holds.
 *
 * docs/OPERATIONS.md forbids two things, and each fails: with OFTEN, the device is renewed several times in any order;
 * AGAIN  the verifier is renewed while a device that is off knows its older pair alone, though all others know the
 * newer.
 */

#define LAST 4 /* generations 1 to LAST */
#define BIT(g) (1 << (g))

byte listed = 2;      /* generations of the device in the site's roster: { 1 } */
byte known = 2;       /* in the verifier's copy of it */
byte file = 2;        /* in the device's file as it is on the device */
byte next_file = 2;   /* as the folder has it */
byte newest = 1;
byte retired;         /* at the verifier */
byte written;         /* in its file */

byte own = 2;         /* pairs that the verifier has: { 1 } */
byte own_newest = 1;
byte own_listed = 2;  /* in the roster */
byte own_next = 2;    /* as the folder has them */
byte seen = 2;        /* in the device's copy of the roster */
byte seen_off = 2;    /* in that of the device that is off */
byte own_file = 2;    /* in the file on its host */
bool used_newest;     /* by the device, and */
bool off_has_used;    /* by the other, while there were two */
/* What an assertion is called in tests/formal/run.sh: never true. */
hidden byte device_key, verifier_key, verifier_key_of_device_off;

#define USABLE ((known & ~retired) != 0 -> (known & ~retired) : known)

/* The two newest of a set. */
inline two_newest(set, result) {
  result = 0;
  k = LAST;
  n = 0;
  do
  :: k == 0 -> break
  :: else ->
       if
       :: (set & BIT(k)) != 0 && n < 2 -> result = result | BIT(k); n++
       :: else
       fi;
       k--
  od;
  k = 0;
  n = 0
}

inline highest(set, result) {
  result = LAST;
  do
  :: result > 0 && (set & BIT(result)) == 0 -> result--
  :: else -> break
  od
}

inline check() {
  d_step {
#ifdef NEWEST_ONLY
    highest(file, g);
    assert((BIT(g) & USABLE) != 0 || device_key);
    g = 0;
#else
    two_newest(file, g);
    assert((g & USABLE) != 0 || device_key);
#endif
    two_newest(seen, g);
    assert((g & own) != 0 || verifier_key);
    two_newest(seen_off, g);
    assert((g & own) != 0 || verifier_key_of_device_off);
    g = 0
  }
}

inline renew_device() {
  d_step {
    newest++;
#ifdef RETIRE_AT_ONCE
    listed = BIT(newest);
#else
    listed = listed | BIT(newest);
#endif
#ifdef FILE_HAS_ONE
    next_file = BIT(newest)
#else
    next_file = BIT(newest) | BIT(newest - 1)
#endif
  }
}

inline take_roster() {
  d_step {
    known = listed;
#ifdef RETIRE_ON_LIST
    highest(known, g);
    retired = retired | (known & ~BIT(g));
    g = 0;
#endif
    retired = retired & known;
    /* A roster that lists the newest pair here and not the older one. */
    highest(own, g);
    if
    :: (own_listed & BIT(g)) != 0 -> own = own & (own_listed | BIT(g))
    :: else
    fi;
    g = 0
  }
}

inline renew_verifier() {
  d_step {
    own_newest++;
    own_next = BIT(own_newest) | BIT(own_newest - 1);
    own_listed = own_next
  }
}

/* File, roster and all. */
inline take_own_file() {
  d_step {
    own_file = own_next;
#ifdef OWN_AT_ONCE
    own = BIT(own_newest);
#else
    own = own_next;
#endif
    used_newest = false;
    off_has_used = false;
    known = listed;
    retired = retired & known
  }
}

#define IS_NEWER_OF_TWO(b) (own != BIT(b) && (own >> ((b) + 1)) == 0)

inline knock(g_of_device, g_of_verifier) {
  d_step {
    /* Older ones go. */
    retired = retired | (USABLE & (BIT(g_of_device) - 1));
    used_newest = used_newest || IS_NEWER_OF_TWO(g_of_verifier);
    /* Inside the session it gets the newest roster that the verifier has. */
    seen = own_listed
  }
}

/* The device that is off comes once. */
inline visit(g_of_verifier) {
  d_step {
    off_has_used = off_has_used || IS_NEWER_OF_TWO(g_of_verifier);
    seen_off = own_listed
  }
}

/* Of the keys that were retired within the last second the files know nothing. */
inline crash() {
  d_step {
    retired = written & known;
    own = own_file;
    used_newest = false;
    off_has_used = false
  }
}

inline retire_own() {
  d_step {
    highest(own, g);
    own = BIT(g);
    g = 0
  }
}

#define IN(set, g) (((set) & BIT(g)) != 0)
#define MAY_KNOCK(a, b) (IN(file, a) && IN(USABLE, a) && IN(seen, b) && IN(own, b))
#define MAY_VISIT(b) (IN(seen_off, b) && IN(own, b))
#ifdef AGAIN
#define IS_TIME (IN(own, own_newest) && IN(seen, own_newest))
#else
#define IS_TIME (own == BIT(own_newest))
#endif
#define MAY_RENEW_VERIFIER (own_newest < LAST && IS_TIME)

#ifdef ANY_ORDER
#define MAY_COPY_FILE true
#else
#define MAY_COPY_FILE ((next_file & ~known) == 0)
#endif
#if defined(ANY_ORDER) && !defined(OFTEN)
#define MOST 2
#else
#define MOST LAST
#endif

active proctype site() {
  byte k, n, g;
end:
  do
  :: newest < MOST -> renew_device()
  :: known != listed -> take_roster(); check()
  :: file != next_file && MAY_COPY_FILE -> file = next_file; check()
  :: MAY_RENEW_VERIFIER -> renew_verifier()
  :: !IN(own, own_newest) -> take_own_file(); check()
  :: MAY_KNOCK(1, 1) -> knock(1, 1); check()
  :: MAY_KNOCK(2, 1) -> knock(2, 1); check()
  :: MAY_KNOCK(1, 2) -> knock(1, 2); check()
  :: MAY_KNOCK(2, 2) -> knock(2, 2); check()
  :: MAY_KNOCK(1, 3) -> knock(1, 3); check()
  :: MAY_KNOCK(2, 3) -> knock(2, 3); check()
  :: MAY_KNOCK(1, 4) -> knock(1, 4); check()
  :: MAY_KNOCK(2, 4) -> knock(2, 4); check()
#if MOST > 2
  :: MAY_KNOCK(3, 1) -> knock(3, 1); check()
  :: MAY_KNOCK(4, 1) -> knock(4, 1); check()
  :: MAY_KNOCK(3, 2) -> knock(3, 2); check()
  :: MAY_KNOCK(4, 2) -> knock(4, 2); check()
  :: MAY_KNOCK(3, 3) -> knock(3, 3); check()
  :: MAY_KNOCK(4, 3) -> knock(4, 3); check()
  :: MAY_KNOCK(3, 4) -> knock(3, 4); check()
  :: MAY_KNOCK(4, 4) -> knock(4, 4); check()
#endif
  :: retired != written -> written = retired
  :: retired != written || own != own_file -> crash(); check()
  :: used_newest && off_has_used && own != BIT(own_newest) -> retire_own(); check()
  :: MAY_VISIT(1) -> visit(1); check()
  :: MAY_VISIT(2) -> visit(2); check()
  :: MAY_VISIT(3) -> visit(3); check()
  :: MAY_VISIT(4) -> visit(4); check()
  od
}
