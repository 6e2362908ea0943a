#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, runs every test, and ends with one line:
#
#   N passed, M failed
#
#   tests/run.sh [STAGE...]     stages: dev asan install lab (default: these, in this order), clang
#
# A build that fails counts as one failed test, and the stages that do not need it go on.
#   NATT_JOBS        parallel compilations and tests (all processors)
#   NATT_LAB_BYTES   octets of each bulk transfer in the laboratory (64 MiB)
# shellcheck disable=SC2317  # Stages are called by name.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
readonly top jobs=${NATT_JOBS:-$(nproc)}

passed=0
failed=0
timings=()

say() { printf '\n== %s\n' "$*"; }

count() {
  passed=$((passed + $1))
  failed=$((failed + $2))
}

# Runs a stage, remembers how long it took, and turns an unexpected end into a failure.
stage() {
  local name=$1 start=$SECONDS
  say "$name"
  "stage_$name" || { echo "stage $name failed"; count 0 1; }
  timings+=("$name $((SECONDS - start)) s")
}

# The last line `N passed, M failed` of a test program's output; anything else is one failure.
count_from() {
  local line
  line=$(tail -n 1 "$1")
  if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    count "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
  else
    echo "no result line at the end of this test program's output"
    count 0 1
  fi
}

configure() {
  local preset=$1 tarball
  shift
  local -a options=("$@")
  command -v ccache >/dev/null &&
    options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  # One download serves all builds.
  tarball=$(find "$top"/build/*/_ngtcp2 -maxdepth 1 -name 'ngtcp2_*.orig.tar.xz' 2>/dev/null | sort | head -n 1 || true)
  [[ -n $tarball ]] && options+=("-DNATT_NGTCP2_TARBALL=$tarball")
  mkdir -p "build/$preset"
  cmake --preset "$preset" "${options[@]}" >"build/$preset/configure.log" 2>&1 || {
    cat "build/$preset/configure.log"
    return 1
  }
}

# build PRESET [CMAKE OPTION...]
build() {
  configure "$@" && cmake --build "build/$1" --parallel "$jobs" -- --quiet
}

# Root of the host that may load eBPF programs (CAP_BPF is bit 39): then tests of the kernel gate are not to be skipped.
may_gate() {
  local id host count effective
  [[ $EUID -eq 0 ]] || return 1
  read -r id host count </proc/self/uid_map
  [[ $id -eq 0 && $host -eq 0 && $count -eq 4294967295 ]] || return 1
  effective=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
  (((16#$effective >> 39) & 1))
}

run_ctest() {
  local preset=$1 log=build/$1/ctest.log
  may_gate && export NATT_REQUIRE_GATE=1
  ctest --preset "$preset" --parallel "$jobs" --no-tests=error 2>&1 | tee "$log" | sed '/ Passed /d' || true
  local line
  line=$(grep -E 'tests passed, [0-9]+ tests? failed out of [0-9]+' "$log") || { count 0 1; return; }
  [[ $line =~ ([0-9]+)\ tests?\ failed\ out\ of\ ([0-9]+) ]]
  count $((BASH_REMATCH[2] - BASH_REMATCH[1])) "${BASH_REMATCH[1]}"
}

stage_dependencies() { cmake/install_dependencies.sh test; }
stage_dev() { build dev && run_ctest dev; }
stage_asan() { build asan && run_ctest asan; }

# The release flags of the other compiler. By default the sanitizer build stands for clang: it compiles everything with
# clang and warnings as errors.
stage_clang() {
  build clang -DNATT_BUILD_TESTS=OFF -DNATT_BUILD_BENCH=OFF -DNATT_BUILD_EXAMPLES=OFF && count 1 0
}

stage_install() {
  tests/install/run.sh build/dev 2>&1 | tee build/install.log || true
  count_from build/install.log
}

# The laboratories do not see each other and mostly wait, so several run at once; each one's output stays in one piece.
# shellcheck disable=SC2016  # The inner shell expands.
stage_lab() {
  local file log
  printf '%s\0' tests/lab/test_*.py | xargs -0 -P "$jobs" -n 1 \
    bash -c 'python3 "$1" >"build/$(basename "$1" .py).log" 2>&1' lab || true
  for file in tests/lab/test_*.py; do
    log=build/$(basename "$file" .py).log
    echo "-- $file"
    sed '/ \.\.\. ok$/d' "$log"
    count_from "$log"
  done
}

# Read to the end before it runs: the file may change meanwhile.
main() {
  local -a stages=("$@")
  [[ ${#stages[@]} -eq 0 ]] && stages=(dev asan install lab)
  local each
  for each in "${stages[@]}"; do
    declare -F "stage_$each" >/dev/null || { echo "unknown stage '$each': dev asan clang install lab" >&2; return 2; }
  done
  mkdir -p build
  stage dependencies
  for each in "${stages[@]}"; do stage "$each"; done

  say "times"
  printf '%s\n' "${timings[@]}" "all $SECONDS s"
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [[ $failed -eq 0 ]]
}

main "$@"; exit
