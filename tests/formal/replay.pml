/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NO REPLAY: a frame makes at most one grant, over time, copies, crashes, lost journals and clocks that are set
 * (docs/WIRE.md section 1.3 steps 2, 4 and 5; docs/decisions/0008-a-journal-vouches-or-a-minute-passes.md).
 *
 * Abstractions
 *   Time      one tick stands for 30 s. A slot of 64 s has two ticks, the 60 s of skew are two, the wait of 61 s is
 *             three. What the verifier's calendar shows is ticks plus an offset.
 *   Frame     one, with a timestamp drawn at the start; what the verifier remembers of slots is kept for its slot
 *             alone. Hint, P and AEAD hold: nobody forges. The attacker has a copy as soon as the frame is made, and
 *             presents it at any time, from anywhere, on any carrier that the code would take it from: the set of
 *             nonces is one.
 *   Others    further frames of the device would only raise its floor. Those of other devices use the journal's
 *             segments: `others` stands for any of them.
 *   Journal   what the next start reads. No torn writes: tests/unit/spa/journal_image_test.cc shows that a word counts
 *             or does not. Missing, damaged or made for another key: nothing of it is used (start_without_journal).
 *   Lag       tables follow the clock in handle_timeout alone, here at any time later or never (in the code: 1 s).
 *
 * Transitions              stand for
 *   present                Verifier::Core::judge, judge_body, remember (libspa/src/verifier_verdict.cc)
 *   follow                 Verifier::Core::follow_clock, HintIndex::advance and start (libspa/src/hint_index.cc)
 *   append, others         JournalWriter::append and take_over (libspa/src/journal_writer.cc)
 *   start_*                MappedJournal::load, brief, restore (libspa/src/mapped_journal.cc), find_doubt
 *                          (libspa/src/journal_trust.cc), Verifier::Core::restore (libspa/src/verifier.cc)
 *   readd                  Verifier::Core::remove_device and put_device (libspa/src/verifier_roster.cc)
 *
 * CLOCK         the calendar is set, while the verifier runs or is down.
 * JOURNAL_LOST  a start may find nothing that it can use.
 * CORRECTED     with both: the clock is behind when the verifier starts, and set right before a copy is tried.
 * START         begins before the first run, with keys that are new, and the file may be missing, come later or grow:
 *   start_first, start_without_file, start_unavailable   MappedJournal::open, load, make_first_file
 *   file_comes, copy_all, publish                        begin_move, move_piece (journal_move.cc), end_move
 *
 * Broken on purpose, each has to fail:
 *   GRANT_FIRST        nonce and journal come after the grant
 *   NO_QUARANTINE      without a journal nothing is waited for
 *   QUARANTINE_SHORT   without one, frames made after the start count: decision 6, before decision 8 replaced it
 *   QUARANTINE_FORGOT  a crash within the wait ends it
 *   WALL_FLOOR         the end of the wait is a time of the calendar and not an instant
 *   NO_REVISIT         a slot that comes again is taken for a new one
 *   FORGET_LOST        the journal does not keep which slots it gave up
 *   OLD_COPY           a copy of the journal from before the last record is believed
 *   NO_DEVICE_MEMORY   a device that was removed comes back without its floor
 *   SHARED_KEY         two verifiers have one key
 *   FIRST_ALWAYS       new keys are enough for a first run, whatever trace there is of another
 *   COMES_CLEAN        a file that comes while a run goes on vouches for what the run accepted before
 *   GROW_EARLY         a larger file gets the name before it holds what the other does
 *   GROW_UNFOLLOWED    what is accepted then goes into the old one alone
 *   UNLOCKED_EAGER     a run without the lock leaves no trace, and accepts while the file of the run before is still
 *                      believed
 * What does not hold, and is asserted to fail (docs/THREAT_MODEL.md section 7):
 *   RESIDUAL  a journal is lost, and the clock goes back to a time that was served before
 *   WIPED     the state folder is deleted whole in the first five minutes of the keys; KEYS_OLD, later: that holds
 *   UNLOCKED  the lock cannot be had, for another reason than that somebody holds it. That run leaves no trace, and
 *             the next is a first one for itself (NO_FORMER). With keys that are older it holds (KEYS_OLD).
 */

#define SKEW 2
#define QUARANTINE (SKEW + 1)
/* Clocks that are set, and states of the folder, make more states of the same time. */
#if defined(CLOCK) && !defined(CORRECTED) || defined(START)
#define LAST 8
#else
#define LAST 11
#endif
/* The calendar's offset when it is right; nothing becomes negative. */
#define RIGHT 6

#define SLOT(t) ((t) / 2)
#define WALL (now + off)
#define IS_COVERED (mine >= first && mine <= first + 2)

byte now = 0;
byte off = RIGHT;
byte ts;
byte mine; /* its slot */
bool made;
byte grants;
/* What the assertion is called in tests/formal/run.sh: never true. */
hidden byte second_grant;

bool running;
bool in_set;
byte first;     /* oldest of the three slots whose tables there are */
bool visited;   /* `mine` is in the SlotHistory */
bool revisited; /* and was, when its table was begun */
/* Times that are only ever compared with `ts`: whether they are at least that. */
bool newest_accepted, floor, newest_restored, newest_removed;
bool floor_is_new; /* device.clock_epoch == clock_epoch_ */
byte accept_from;  /* by `now` */

bool recorded;
bool lost; /* `mine` is among the slots that the journal gave up */
bool newest_beat; /* the latest of all its beats, and three ticks, is at least `ts` */
byte last_beat;   /* its last, by the calendar and */
byte beat_off;    /* the calendar's offset then; both as of the crash */
byte written_accept_from;

#ifdef START
bool has_lock, has_file; /* in the state folder */
bool is_unlocked;        /* this run: the file is left alone */
byte beat_now;           /* when the last beat was */
bool growing, is_level;  /* a larger file is being made; it holds what the other does */
bool next_recorded, next_lost;
#else
#define has_file true
#endif

/* find_doubt: the calendar against the time since boot; with START also how old the last beat is. */
#ifdef START
#define TRUST 1
#if defined(NO_FORMER)
#define IS_TRUSTED false
#else
#define IS_TRUSTED (off == beat_off && now <= beat_now + TRUST)
#endif
#else
#define IS_TRUSTED (off == beat_off)
#endif
/* All of a run is within five minutes of the keys. */
#if defined(KEYS_OLD)
#define IS_FIRST false
#elif defined(FIRST_ALWAYS)
#define IS_FIRST (!has_file)
#else
#define IS_FIRST (!has_lock && !has_file)
#endif

bool in_other_set;
bool journal_was_lost;
bool went_back; /* the clock, ever */

inline grant() {
  grants++;
  assert(grants <= 1 || second_grant)
}

inline give_up() {
  recorded = false;
#ifndef FORGET_LOST
  lost = true;
#endif
#ifdef START
  if
  :: is_level -> next_recorded = false; next_lost = true
  :: else
  fi
#endif
}

/* A segment is a slot modulo 3: of three covered slots in a row one takes over that of any other slot. */
#define IS_IN_THE_WAY (recorded && !IS_COVERED)

inline others() { d_step { give_up() } }

inline begin_table() {
  revisited = visited;
#ifndef NO_REVISIT
  visited = true
#endif
}

inline follow() {
  d_step {
    was_covered = IS_COVERED;
    floor_is_new = floor_is_new && SLOT(WALL - SKEW) == first + 1;
    first = SLOT(WALL - SKEW);
    in_set = in_set && IS_COVERED;
    if
    :: IS_COVERED && !was_covered -> begin_table()
    :: else
    fi;
    was_covered = false
  }
}

#ifdef WALL_FLOOR
byte started_off;
#define IS_BEFORE_ACCEPT_FROM (ts < accept_from + started_off)
#else
/* By the calendar as it stands now. */
#define IS_BEFORE_ACCEPT_FROM (ts + now < WALL + accept_from)
#endif
#define IS_TIMELY (ts + SKEW >= WALL && ts <= WALL + SKEW)

inline judge() {
  d_step {
    pass = running && made && IS_COVERED && !in_set && IS_TIMELY && !IS_BEFORE_ACCEPT_FROM;
    if
    :: pass && revisited && !floor_is_new ->
         floor = newest_accepted || newest_restored;
         floor_is_new = true
    :: else
    fi;
    pass = pass && !(revisited && floor)
  }
}

inline remember() {
  d_step {
    in_set = true;
    newest_accepted = true
  }
}

#ifdef START
inline append() {
  d_step {
    recorded = recorded || (has_file && !is_unlocked);
#ifndef GROW_UNFOLLOWED
    next_recorded = next_recorded || is_level
#endif
  }
}
#else
inline append() { recorded = true }
#endif

/* The process may be killed between any two steps. */
inline present() {
  judge();
  if
  :: pass ->
       pass = false;
#ifdef GRANT_FIRST
       grant();
       if
       :: remember(); append()
       :: crash()
       fi
#else
       remember();
       if
       :: crash()
       :: append();
          if
          :: grant()
          :: crash()
          fi
       fi
#endif
  :: else
  fi
}

inline crash() {
  d_step {
    running = false;
    in_set = false;
    visited = false;
    revisited = false;
    first = 0;
    newest_accepted = false;
    floor = false;
    newest_restored = false;
    newest_removed = false;
    floor_is_new = false;
    accept_from = 0;
#ifdef START
    if
    :: !is_unlocked -> beat_now = now; last_beat = WALL; beat_off = off
    :: else
    fi;
    is_unlocked = false;
    stop_growing()
#else
    last_beat = WALL;
    beat_off = off
#endif
  }
}

/* Once a second. */
#ifdef START
inline beat() { newest_beat = newest_beat || (has_file && !is_unlocked && WALL + QUARANTINE >= ts) }
#else
inline beat() { newest_beat = newest_beat || WALL + QUARANTINE >= ts }
#endif


inline wait() {
#if defined(NO_QUARANTINE)
  accept_from = 0;
#elif defined(QUARANTINE_SHORT)
  accept_from = now;
#else
  accept_from = now + QUARANTINE;
#endif
  written_accept_from = accept_from
}

inline begin_run() {
  running = true;
  first = SLOT(WALL - SKEW);
  visited = lost;
  revisited = false;
  if
  :: IS_COVERED -> begin_table()
  :: else
  fi;
  beat();
#ifdef START
  if
  :: !is_unlocked -> last_beat = 0; beat_off = 0; beat_now = 0
  :: else
  fi;
#else
  last_beat = 0;
  beat_off = 0;
#endif
#ifdef WALL_FLOOR
  started_off = off;
#endif
  floor_is_new = false
}

/* kComplete. What it holds of slots that do not count any more counts as lost. */
inline start_with_journal() {
  d_step {
#ifdef QUARANTINE_FORGOT
    accept_from = 0;
#else
    accept_from = written_accept_from;
#endif
    newest_restored = newest_beat;
    newest_removed = newest_restored;
    begin_run();
    in_set = recorded && IS_COVERED;
    visited = visited || recorded
  }
}

/* kStale: its slots count as lost, and those around its last beat. */
inline start_with_doubt() {
  d_step {
    lost = lost || recorded || (mine >= SLOT(last_beat - QUARANTINE) && mine <= SLOT(last_beat + QUARANTINE));
    recorded = false;
    newest_restored = newest_beat;
    newest_removed = newest_restored;
    wait();
    begin_run()
  }
}

/* kMissing, kCorrupt. */
inline start_without_journal() {
  d_step {
    lost = false;
    recorded = false;
    newest_beat = false;
    journal_was_lost = true;
    wait();
    begin_run()
  }
}

#ifdef START
inline stop_growing() {
  growing = false;
  is_level = false;
  next_recorded = false;
  next_lost = false
}

inline lose_file() {
  has_file = false;
  recorded = false;
  lost = false;
  newest_beat = false
}

/* kFirst: no file, no trace of a run, and keys that are not five minutes old. */
inline start_first() {
  d_step {
    has_lock = true;
    has_file = true;
    accept_from = now;
    written_accept_from = now;
    begin_run()
  }
}

/* kMissing. */
inline start_without_file() {
  d_step {
    has_lock = true;
    has_file = true;
    wait();
    begin_run()
  }
}

/* kUnavailable: what is there is read, and goes; none can be made. */
inline start_unavailable() {
  has_lock = true;
  if
  :: has_file && IS_TRUSTED -> start_with_journal()
  :: has_file -> start_with_doubt()
  :: !has_file -> d_step { wait(); begin_run() }
  fi;
  d_step { lose_file() }
}

/* kUnavailable, when the lock cannot be had though nobody holds it: neither read nor replaced. */
inline start_unlocked() {
  d_step {
    is_unlocked = true;
    accept_from = now + QUARANTINE + TRUST;
#ifdef UNLOCKED_EAGER
    accept_from = now + QUARANTINE;
#endif
    begin_run();
    visited = IS_COVERED;
    revisited = false
  }
}

/* What was accepted so far stands nowhere. */
inline file_comes() {
  d_step {
    has_file = true;
    lost = mine >= SLOT(WALL - QUARANTINE) && mine <= SLOT(WALL + QUARANTINE);
#ifdef COMES_CLEAN
    lost = false;
    written_accept_from = 0;
#else
    written_accept_from = now + QUARANTINE;
#endif
    beat()
  }
}

inline copy_all() { d_step { next_recorded = recorded; next_lost = lost; is_level = true } }

inline publish() {
  d_step {
    recorded = next_recorded;
    lost = next_lost;
    stop_growing()
  }
}
#ifdef GROW_EARLY
#define MAY_PUBLISH growing
#else
#define MAY_PUBLISH is_level
#endif
#endif

inline readd() {
  d_step {
#ifdef NO_DEVICE_MEMORY
    newest_accepted = false;
    floor = false;
#else
    newest_removed = newest_removed || newest_accepted || floor;
    newest_accepted = newest_removed;
    floor = newest_removed;
#endif
    floor_is_new = true
  }
}

#ifndef CLOCK
#define MAY_GO_FORWARD false
#define MAY_GO_BACK false
#elif defined(RESIDUAL)
#define MAY_GO_FORWARD true
#define MAY_GO_BACK true
#elif defined(CORRECTED)
#define MAY_GO_FORWARD (off < RIGHT)
#define MAY_GO_BACK (!running && off == RIGHT)
#else
#define MAY_GO_FORWARD true
#define MAY_GO_BACK (!journal_was_lost)
#endif
/* The journal of what was served before the clock went back is not the one to lose. */
#if defined(JOURNAL_LOST) && !defined(RESIDUAL) && !defined(CORRECTED)
#define MAY_LOSE (!went_back)
#elif defined(JOURNAL_LOST)
#define MAY_LOSE true
#else
#define MAY_LOSE false
#endif

inline set_clock(to) {
  d_step {
    went_back = went_back || to < off;
    off = to;
    if
    :: running -> beat()
    :: else
    fi
  }
}

#ifdef CORRECTED
#define MAY_PRESENT (off == RIGHT)
#else
#define MAY_PRESENT true
#endif
active proctype world() {
  bool pass, was_covered;
  /* Any time that a device with a clock within or out of the skew may write. */
  if
  :: ts = RIGHT
  :: ts = RIGHT + 2
  :: ts = RIGHT + 3
  :: ts = RIGHT + 5
  fi;
  mine = SLOT(ts);
#ifndef START
  begin_run();
#endif
  do
  :: now < LAST ->
       d_step {
         now++;
         if
         :: running -> beat()
         :: else
         fi
       }
  :: MAY_GO_FORWARD && off < RIGHT -> set_clock(RIGHT)
  :: MAY_GO_BACK && off > RIGHT -> set_clock(RIGHT)
  :: MAY_GO_BACK && off == RIGHT -> set_clock(RIGHT - 3)
  :: MAY_GO_FORWARD && off == RIGHT -> set_clock(RIGHT + 8)
  :: running && SLOT(WALL - SKEW) != first -> follow()
  :: !made && ts <= now + RIGHT + SKEW -> made = true
  :: made && running && MAY_PRESENT -> present()
  :: running && IS_IN_THE_WAY -> others()
  :: running -> readd()
  :: running -> crash()
  :: !running && has_file && IS_TRUSTED -> start_with_journal()
#ifdef OLD_COPY
  :: !running && IS_TRUSTED -> recorded = false; start_with_journal()
#endif
  :: !running && has_file -> start_with_doubt()
#ifdef START
  :: !running && IS_FIRST -> start_first()
  :: !running && !has_file -> start_without_file()
  :: !running -> start_unavailable()
  :: running && !has_file && !is_unlocked -> file_comes()
#ifdef UNLOCKED
  :: !running -> start_unlocked()
#endif
#ifdef WIPED
  :: !running && has_lock -> d_step { has_lock = false; lose_file() }
#endif
#if !defined(UNLOCKED) && !defined(WIPED)
  :: running && has_file && !is_unlocked && !growing -> growing = true
  :: running && growing && !is_level -> copy_all()
  :: running && MAY_PUBLISH -> publish()
#endif
#endif
#ifdef JOURNAL_LOST
  :: !running && MAY_LOSE -> start_without_journal()
#endif
#ifdef SHARED_KEY
  :: made && !in_other_set && IS_TIMELY -> in_other_set = true; grant()
#endif
  :: now == LAST -> break
  od
}
