#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs a finished build into a temporary folder and uses it from an outside
# project: find_package(natt), link, run, one component at a time.
#
#   tests/install/run.sh BUILD_FOLDER
#
# The last line is `N passed, M failed`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly build=${1:?the folder of a finished build}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

check() {
  local what=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    printf 'ok      %s\n' "$what"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n' "$what"
    tail -n 60 "$work/log"
  fi
}

refused() { ! "$@"; }

configure() {
  local part=$1
  cmake -S "$here" -B "$work/$part" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH="$work/prefix" \
    -DPART="$part" -DCMAKE_FIND_PACKAGE_NO_PACKAGE_REGISTRY=ON
}

use() {
  local part=$1
  configure "$part" && cmake --build "$work/$part" && "$work/$part/outside" && "$work/$part/outside_whole"
}

# The package must not lean on the build it came from: the installed folder moves first.
moved() {
  cmake --install "$build" --prefix "$work/first" && mv "$work/first" "$work/prefix" &&
    ! grep -rlF "$build" "$work/prefix" --include='*.cmake'
}

programs() {
  local program
  for program in natt-broker natt-gateway natt-client nattctl; do
    "$work/prefix/bin/$program" --help >/dev/null || return 1
  done
}

check "cmake --install, and no path of the build in the package" moved
for part in spa spa_gate natt tunnel; do check "an outside project links $part" use "$part"; done
check "an unknown component is refused" refused configure nonsense
if [[ -e $build/apps/broker ]]; then check "the installed programs start" programs; fi

printf '%d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
