#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to three working tunnels on this one machine: installs what is missing,
# builds, lays out a small internet with NATs in network namespaces, and fetches a page
# and 100 MB through the tunnel
#
#   1. with a gateway that is reachable             -> Direct
#   2. with both ends behind a port-restricted NAT  -> Direct via NAT Traversal
#   3. with both ends behind a symmetric NAT        -> Relay
#
# Exits 0 only when the connection types are those. Works as root, and without root
# where unprivileged user namespaces are allowed. Nothing stays behind but the build.
#
#   NATT_PROGRAMS     folder of programs that are built already (builds its own)
#   NATT_JOBS         parallel compilations (all processors)
#   NATT_QUICK_BYTES  octets of the download (100 MB)
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly top
readonly programs=${NATT_PROGRAMS:-$top/build/release/apps}
readonly blob=${NATT_QUICK_BYTES:-100000000}
# ip, nft and friends live where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }

build() {
  "$top/cmake/install_dependencies.sh" build >&2
  say "building (the first time takes some minutes)"
  local log=$top/build/release-quickstart.log
  mkdir -p "$top/build"
  {
    (cd "$top" && cmake --preset release) &&
      cmake --build "$top/build/release" --parallel "${NATT_JOBS:-$(nproc)}" --target broker gateway client nattctl
  } >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    say "quickstart: the build failed; all of it is in $log"
    return 1
  }
}

# --- inside the laboratory ------------------------------------------------------------
# `on HOST COMMAND` runs a command on a host; it comes with tests/lab/natlab.py, which
# also takes everything down again.

# Starts a program on a host and waits until it prints `ready`.
serve() {
  local host=$1 name=$2
  shift 2
  : >"$work/$name.log"
  on "$host" "$@" >>"$work/$name.log" 2>&1 &
  local pid=$! tries
  for ((tries = 0; tries < 200; tries++)); do
    grep -qx ready "$work/$name.log" && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  say "quickstart: $name did not become ready:"
  tail -n 20 "$work/$name.log" >&2
  return 1
}

# The gateway registers with the broker on its own; a client may come before, but then waits.
await_gateway() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    "$programs/nattctl" --socket "$work/broker.sock" sites --json | grep -q '"connected"' && return
    sleep 0.05
  done
  say "quickstart: the gateway does not reach the broker:"
  tail -n 20 "$work/gateway.log" >&2
  return 1
}

# Every file nattctl made is complete; only what belongs to this host is added.
configure() {
  local -a address=()
  [[ $1 == public ]] && address=(--gateway-address 203.0.113.7)
  "$programs/nattctl" init "$work/site" --site hq --broker-address 198.51.100.10 \
    --gateway gw1 "${address[@]}" --client alice --allow tcp/10.99.0.0/24:80 >/dev/null
  local file
  for file in "$work"/site/*.toml; do
    local name=${file##*/}
    python3 "$top/tests/lab/toml_edit.py" "$file" control socket "$work/${name%%[-.]*}.sock"
  done
  printf '\n[[forward]]\nlisten = "127.0.0.1:8080"\ntarget = "10.99.0.80:80"\n' >>"$work/site/client-alice.toml"
}

# One line: connection type, seconds to the first byte, octets a second.
inside() {
  work=$(mktemp -d)
  configure "$1"
  serve web web "$top/tests/lab/web_server.py" 10.99.0.80 "$blob"
  serve broker broker "$programs/broker" --config "$work/site/broker.toml"
  serve gateway gateway "$programs/gateway" --config "$work/site/gateway-gw1.toml"
  await_gateway
  serve client client "$programs/client" --config "$work/site/client-alice.toml"
  local first speed type
  first=$(on client curl -sS --max-time 20 -o "$work/page" -w '%{time_starttransfer}' http://127.0.0.1:8080/) || {
    say "quickstart: no page came through the tunnel:"
    tail -n 15 "$work/client.log" "$work/gateway.log" "$work/broker.log" >&2
    return 1
  }
  grep -q "Only the gateway can reach this page" "$work/page"
  speed=$(on client curl -sS --max-time 120 -o /dev/null -w '%{speed_download} %{size_download}' http://127.0.0.1:8080/blob)
  [[ ${speed#* } == "$blob" ]] || { say "quickstart: ${speed#* } of $blob octets arrived"; return 1; }
  type=$("$programs/nattctl" --socket "$work/client.sock" status --json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["connections"][0]["connectionType"])')
  printf '%s|%s|%s\n' "$type" "$first" "${speed% *}"
}

# --- outside --------------------------------------------------------------------------

row() { printf '%-34s %-26s %18s %16s\n' "$@"; }

# Runs one scenario in a laboratory of its own, prints its row, and compares the type.
scenario() {
  local title=$1 gateway=$2 nat=$3 gateway_nat=$4 expected=$5 result
  result=$(python3 "$top/tests/lab/natlab.py" run --client-nat "$nat" --gateway-nat "$gateway_nat" -- \
    bash "${BASH_SOURCE[0]}" --inside "$gateway") || { row "$title" "failed" "" ""; return 1; }
  local type first speed
  IFS='|' read -r type first speed <<<"$result"
  row "$title" "$type" "$(awk -v s="$first" 'BEGIN { printf "%.0f ms", s * 1000 }')" \
    "$(awk -v s="$speed" 'BEGIN { printf "%.0f Mbit/s", s * 8 / 1e6 }')"
  [[ $type == "$expected" ]] || { say "quickstart: expected '$expected'"; return 1; }
}

main() {
  [[ -n ${NATT_PROGRAMS:-} ]] || build
  local failed=0
  row "" "connection type" "first byte after" "download"
  scenario "1 gateway reachable" public port-restricted none "Direct" || failed=1
  scenario "2 both port-restricted NAT" hidden port-restricted port-restricted "Direct via NAT Traversal" || failed=1
  scenario "3 both symmetric NAT" hidden symmetric symmetric "Relay" || failed=1
  return $failed
}

if [[ ${1:-} == --inside ]]; then
  inside "$2"
else
  main
fi
