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
#   holds   no state violates an assertion
#   breaks  one does, because the defines break a rule on purpose
#   known   one does, and the code is like that: the model's head says where, docs/THREAT_MODEL.md what it means
cases() {
  cat <<'CASES'
holds hiding MODE_TCP
holds hiding MODE_UDP
holds hiding MODE_TCP RESTART TLS_ONLY
holds hiding MODE_UDP RESTART TLS_ONLY
breaks hiding MODE_UDP IP_ONLY
breaks hiding MODE_TCP NO_TRANSPORT
breaks hiding MODE_TCP NO_OWNER
breaks hiding MODE_TCP VERDICT_BY_NONCE
breaks hiding MODE_TCP STUN_BY_NONCE
breaks hiding MODE_TCP BIND_AGAIN
breaks hiding MODE_UDP EARLY_TLS
breaks hiding MODE_UDP NO_BINDING TLS_ONLY
known hiding MODE_TCP RESTART
known hiding MODE_TCP REUSE
known hiding MODE_TCP THIEF
holds liveness
breaks liveness CHARGE_FIRST
breaks liveness SYN_CHARGE_FIRST
breaks liveness FORGERY_CHARGED
breaks liveness STUN_CHARGE_FIRST
holds renewal
holds renewal ANY_ORDER
breaks renewal RETIRE_AT_ONCE
breaks renewal RETIRE_ON_LIST
breaks renewal OWN_AT_ONCE
breaks renewal ANY_ORDER NEWEST_ONLY
breaks renewal ANY_ORDER FILE_HAS_ONE
known renewal AGAIN
known renewal ANY_ORDER OFTEN
holds replay
holds replay JOURNAL_LOST
holds replay CLOCK
holds replay CLOCK JOURNAL_LOST
holds replay CLOCK JOURNAL_LOST CORRECTED
breaks replay JOURNAL_LOST GRANT_FIRST
breaks replay JOURNAL_LOST NO_QUARANTINE
breaks replay JOURNAL_LOST QUARANTINE_SHORT
breaks replay JOURNAL_LOST QUARANTINE_FORGOT
breaks replay SHARED_KEY
breaks replay OLD_COPY
breaks replay CLOCK JOURNAL_LOST CORRECTED WALL_FLOOR
breaks replay CLOCK NO_REVISIT
breaks replay CLOCK FORGET_LOST
breaks replay CLOCK NO_DEVICE_MEMORY
known replay CLOCK JOURNAL_LOST RESIDUAL
holds revocation
breaks revocation CACHED_VERDICT
breaks revocation KEEP_GRANT
breaks revocation KEEP_CHANNEL
breaks revocation KEEP_STUN
breaks revocation KEEP_RELAY
breaks revocation KEEP_HELD
breaks revocation KEEP_SOURCE
CASES
}

# What the check of MODEL DEFINE... found: `holds`, `violated`, or why neither can be said.
finding() {
  local model=$1 folder=$2
  shift 2
  cd "$folder"
  spin "${@/#/-D}" -a "$here/$model.pml" >spin.log 2>&1 || { echo "spin refuses it: $(head -n 1 spin.log)"; return; }
  gcc -O1 -w -DSAFETY -DCOLLAPSE -DNOFAIR -DMEMLIM=900 -o pan pan.c 2>gcc.log ||
    { echo "pan.c does not compile"; return; }
  ./pan -m100000 -n >pan.log 2>&1 || true
  if grep -q 'assertion violated' pan.log; then
    echo violated
  elif grep -Eq 'max search depth too small|out of memory|search was stopped|aborted' pan.log; then
    echo "the search did not end: $(grep -Em 1 'depth too small|memory|stopped|aborted' pan.log)"
  elif grep -q 'errors: 0' pan.log; then
    echo holds
  else
    echo "another error: $(grep -m 1 'pan:' pan.log)"
  fi
}

check() {
  local expected=$1 model=$2 folder found verdict
  shift 2
  folder=$(mktemp -d)
  found=$(finding "$model" "$folder" "$@")
  case $expected-$found in
    holds-holds | breaks-violated | known-violated) verdict=ok ;;
    *) verdict="FAILED: $found" ;;
  esac
  local states
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$folder/pan.log" 2>/dev/null || true)
  rm -rf "$folder"
  echo "formal.$model${*:+ $*} $expected ${states:-0} states $verdict"
}
export -f finding check

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
