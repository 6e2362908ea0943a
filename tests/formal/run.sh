#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the models of the knock with spin (Debian's package): what has to hold does, in every state that there is, and
# each model that is broken on purpose is found out. Ends with one line, `N passed, M failed`, and status 1 on a
# surprise.
#
#   tests/formal/run.sh [MODEL...]     models: hiding liveness renewal replay revocation (default: all)
#
#   NATT_JOBS   checks that run at a time (all processors); each takes below 1 GiB
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here jobs=${NATT_JOBS:-$(nproc)}
export here

# What is expected of a model with these defines:
#   holds        no state violates an assertion
#   breaks:WHAT  one violates the assertion of this name, because the defines break a rule on purpose
#   known:WHAT   likewise, and the code is like that: the model's head says where, docs/THREAT_MODEL.md what it means
cases() {
  cat <<'CASES'
holds hiding MODE_TCP
holds hiding MODE_UDP
holds hiding MODE_TCP RESTART TLS_ONLY
holds hiding MODE_UDP RESTART TLS_ONLY
holds hiding MODE_TCP THIEF TLS_ONLY ELSEWHERE BOUND
holds hiding MODE_UDP THIEF TLS_ONLY ELSEWHERE BOUND
breaks:first_flight hiding MODE_TCP THIEF TLS_ONLY ELSEWHERE
breaks:first_flight hiding MODE_UDP THIEF TLS_ONLY ELSEWHERE
breaks:first_flight hiding MODE_UDP IP_ONLY
breaks:syn_ack hiding MODE_TCP NO_TRANSPORT
breaks:syn_ack hiding MODE_TCP NO_OWNER
breaks:datagram hiding MODE_TCP VERDICT_BY_NONCE
breaks:datagram hiding MODE_TCP STUN_BY_NONCE
breaks:challenge hiding MODE_TCP BIND_AGAIN
breaks:first_flight hiding MODE_UDP EARLY_TLS
breaks:first_flight hiding MODE_UDP NO_BINDING TLS_ONLY
breaks:syn_ack hiding MODE_UDP SOURCE_FOREVER
known:syn_ack hiding MODE_TCP RESTART
known:syn_ack hiding MODE_TCP REUSE
known:syn_ack hiding MODE_TCP THIEF
known:first_flight hiding MODE_TCP THIEF TLS_ONLY
holds liveness
breaks:knock_budget liveness CHARGE_FIRST
breaks:syn_budget liveness SYN_CHARGE_FIRST
breaks:forgery_budget liveness FORGERY_CHARGED
breaks:forgery_budget liveness REBOUND_CHARGED
breaks:stun_budget liveness STUN_CHARGE_FIRST
known:forgery_budget liveness UNKNOWN
holds renewal
holds renewal ANY_ORDER
breaks:device_key renewal RETIRE_AT_ONCE
breaks:device_key renewal RETIRE_ON_LIST
breaks:verifier_key renewal OWN_AT_ONCE
breaks:device_key renewal ANY_ORDER NEWEST_ONLY
breaks:device_key renewal ANY_ORDER FILE_HAS_ONE
known:verifier_key_of_device_off renewal AGAIN
known:device_key renewal ANY_ORDER OFTEN
holds replay
holds replay JOURNAL_LOST
holds replay CLOCK
holds replay CLOCK JOURNAL_LOST
holds replay CLOCK JOURNAL_LOST CORRECTED
holds replay START
holds replay START WIPED KEYS_OLD
holds replay START UNLOCKED KEYS_OLD
breaks:second_grant replay JOURNAL_LOST GRANT_FIRST
breaks:second_grant replay JOURNAL_LOST NO_QUARANTINE
breaks:second_grant replay JOURNAL_LOST QUARANTINE_SHORT
breaks:second_grant replay JOURNAL_LOST QUARANTINE_FORGOT
breaks:second_grant replay SHARED_KEY
breaks:second_grant replay OLD_COPY
breaks:second_grant replay CLOCK JOURNAL_LOST CORRECTED WALL_FLOOR
breaks:second_grant replay CLOCK NO_REVISIT
breaks:second_grant replay CLOCK FORGET_LOST
breaks:second_grant replay CLOCK NO_DEVICE_MEMORY
breaks:second_grant replay START FIRST_ALWAYS
breaks:second_grant replay START COMES_CLEAN
breaks:second_grant replay START GROW_EARLY
breaks:second_grant replay START GROW_UNFOLLOWED
breaks:second_grant replay START UNLOCKED KEYS_OLD UNLOCKED_EAGER
known:second_grant replay CLOCK JOURNAL_LOST RESIDUAL
known:second_grant replay START WIPED
known:second_grant replay START UNLOCKED NO_FORMER
holds revocation
breaks:knock revocation KEEP_KEYS
breaks:initial revocation CACHED_VERDICT
breaks:grant revocation KEEP_GRANT
breaks:channel revocation KEEP_CHANNEL
breaks:stun revocation KEEP_STUN
breaks:relay revocation KEEP_RELAY
breaks:hello revocation KEEP_HELD
breaks:syn_ack revocation KEEP_SOURCE
CASES
}

# Steps of MODEL's processes that a case may hold without: an attacker who is kept out stays out.
never_taken() {
  case $1 in
    hiding) echo 'connection\[[12]\] = kNone|flow\[[12]\] = 0' ;;
    *) echo 'nothing' ;;
  esac
}

# The first step in MODEL that no state led to. An inline is there once for each use; where an attacker uses it,
# some uses never come to its end.
unreached() {
  local model=$1 from=0
  case $model in
    hiding | liveness) from=$(grep -n -m 1 '^active proctype' "$here/$model.pml" | cut -d: -f1) ;;
  esac
  sed -n "s/^\t.*$model\.pml:\([0-9]*\), state [0-9]*, \"\(.*\)\"$/\1 \2/p" pan.log |
    awk -v from="$from" '$1 > from && $2 != "-end-"' | { grep -Ev "$(never_taken "$model")" || true; } | head -n 1
}

# What the check of MODEL DEFINE... found: `holds`, `violated:WHAT`, or why neither can be said.
finding() {
  local model=$1 folder=$2 status=0 step
  local unfinished='depth too small|out of memory|MEMLIM|not completed|stopped|aborted'
  shift 2
  cd "$folder"
  spin "${@/#/-D}" -a "$here/$model.pml" >spin.log 2>&1 || { echo "spin refuses it: $(head -n 1 spin.log)"; return; }
  gcc -O1 -w -DSAFETY -DCOLLAPSE -DNOFAIR -DMEMLIM=900 -o pan pan.c 2>gcc.log ||
    { echo "pan.c does not compile"; return; }
  ./pan -m100000 >pan.log 2>&1 || status=$?
  if grep -q 'assertion violated' pan.log; then
    echo "violated:$(sed -n 's/.*assertion violated .*||\([a-z_]*\)) (at depth.*/\1/p' pan.log | head -n 1)"
  elif [[ $status -ne 0 ]] || grep -Eq "$unfinished" pan.log; then
    echo "the search did not end: status $status, $(grep -Em 1 "$unfinished|pan:" pan.log)"
  elif ! grep -q 'errors: 0' pan.log; then
    echo "another error: $(grep -m 1 'pan:' pan.log)"
  elif step=$(unreached "$model") && [[ -n $step ]]; then
    echo "it never comes to line $step"
  else
    echo holds
  fi
}

check() {
  local expected=$1 model=$2 what=${1#*:} folder found verdict
  shift 2
  folder=$(mktemp -d)
  found=$(finding "$model" "$folder" "$@")
  case $expected-$found in
    holds-holds | "breaks:$what-violated:$what" | "known:$what-violated:$what") verdict=ok ;;
    *) verdict="FAILED: $found" ;;
  esac
  local states
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$folder/pan.log" 2>/dev/null || true)
  rm -rf "$folder"
  echo "formal.$model${*:+ $*} $expected ${states:-0} states $verdict"
}
export -f never_taken unreached finding check

if ! command -v spin >/dev/null; then
  echo "spin is missing: install Debian's spin (cmake/install_dependencies.sh test does)" >&2
  exit 1
fi

wanted=" ${*:-hiding liveness renewal replay revocation} "
log=$(mktemp)
trap 'rm -f "$log"' EXIT

selected() {
  local expected model defines
  cases | while read -r expected model defines; do
    if [[ $wanted == *" $model "* ]]; then echo "$expected $model $defines"; fi
  done
}

# shellcheck disable=SC2016  # The inner shell expands.
selected | xargs -P "$jobs" -I{} bash -c 'check $1' check {} | tee "$log"

passed=$(grep -c ' ok$' "$log" || true)
all=$(selected | wc -l)
printf '%d passed, %d failed\n' "$passed" "$((all - passed))"
[[ $all -gt 0 && $passed -eq $all ]]
