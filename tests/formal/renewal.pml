/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RENEWAL: while a device and its verifier get new SPA keys, in any order, with crashes and with a device that is off,
 * the device is never locked out: at every moment some pair of keys that it will try is one that the verifier takes
 * (docs/WIRE.md section 1.1, "Renewal").
 *
 * Abstractions
 *   Keys      generations, as bits. The device tries all combinations of the two newest of each end in turn
 *             (libnatt/include/natt/key_choice.h), so it gets in when one of them is taken.
 *   Site      one verifier with a device that is used and one that is off all the time (only what it would need
 *             counts).
 *   Folder    `nattctl renew` changes roster and device's file in one commit (tests/unit/apps/nattctl_folder_test.cc),
 *             then people carry them, each when they like, the device's file after the roster (docs/OPERATIONS.md).
 *   Backups   an older file put back is no renewal: its tools tell why it is refused (natt/device_memory.h).
 *
 * Transitions             stand for
 *   renew_device          Registrar::renew (apps/nattctl/registrar.cc): the roster lists up to four, the file has two
 *   renew_verifier        the same for a broker: two and two; its file brings the roster
 *   knock                 choose_keys, Verifier::Core::report_new_key, RosterLoader::handle_key_used
 *   write_retired         the file of retired keys, appended within a second; `crash` forgets what is not in it
 *   usable                RetiredKeys::usable: all listed but the retired; when that is none, all listed
 *   retire_own            BrokerSite::retire_own_keys: every device has used the newest; retire_unlisted_own_key
 *
 * Broken on purpose, each has to fail: RETIRE_AT_ONCE  the roster drops the old key at renewal; RETIRE_ON_LIST  the
 * verifier drops it when it learns of the new one; OWN_AT_ONCE  the verifier drops its older pair when it has a newer
 * one; with ANY_ORDER: NEWEST_ONLY  the device tries nothing but its newest key; FILE_HAS_ONE  the renewed file does
 * not keep the old key.
 *
 * ANY_ORDER: one renewal, and the device's file may come before the roster: holds. With OFTEN, several renewals: fails,
 * as does AGAIN, a verifier that is renewed twice while a device is off. docs/OPERATIONS.md forbids both.
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
bool used_newest;     /* by the device; the other never does */
bool off_has_used;    /* unless it was on once, at the end */

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
    assert((BIT(g) & USABLE) != 0);
    g = 0;
#else
    two_newest(file, g);
    assert((g & USABLE) != 0);
#endif
    two_newest(seen, g);
    assert((g & own) != 0);
    two_newest(seen_off, g);
    assert((g & own) != 0);
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
    /* A roster that lists the newest own pair and not the older one. */
    if
    :: (own & ~own_listed) != 0 && (own_listed & BIT(own_newest)) != 0 && (own & BIT(own_newest)) != 0 ->
         own = own & own_listed
    :: else
    fi
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
#ifdef OWN_AT_ONCE
    own = BIT(own_newest);
#else
    own = own_next;
#endif
    used_newest = false;
    known = listed;
    retired = retired & known
  }
}

inline knock(g_of_device, g_of_verifier) {
  d_step {
    /* Older ones go. */
    retired = retired | (USABLE & (BIT(g_of_device) - 1));
    if
    :: (own >> (g_of_verifier + 1)) == 0 -> used_newest = true
    :: else
    fi;
    /* Inside the session it gets the newest roster that the verifier has. */
    seen = own_listed
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
#ifdef AGAIN
#define MAY_RENEW_VERIFIER (own_newest < LAST)
#else
#define MAY_RENEW_VERIFIER (own_newest < 2)
#endif

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
  :: own != own_next && own_next != 0 && !used_newest && (own_next & ~own) != 0 -> take_own_file(); check()
  :: MAY_KNOCK(1, 1) -> knock(1, 1); check()
  :: MAY_KNOCK(2, 1) -> knock(2, 1); check()
  :: MAY_KNOCK(3, 1) -> knock(3, 1); check()
  :: MAY_KNOCK(4, 1) -> knock(4, 1); check()
  :: MAY_KNOCK(1, 2) -> knock(1, 2); check()
  :: MAY_KNOCK(2, 2) -> knock(2, 2); check()
  :: MAY_KNOCK(3, 2) -> knock(3, 2); check()
  :: MAY_KNOCK(4, 2) -> knock(4, 2); check()
  :: retired != written -> written = retired
  :: retired != written -> retired = written & known; check() /* crash */
  /* Every device has used it: the one that was off came once. */
  :: used_newest && off_has_used && own != BIT(own_newest) && IN(own, own_newest) -> retire_own(); check()
  :: !off_has_used && IN(own, own_newest) && seen_off != own_listed ->
       seen_off = own_listed;
       off_has_used = true;
       check()
  od
}
