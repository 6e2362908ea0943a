#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Line and branch coverage of libspa by its unit tests and by the corpora of its fuzz targets, with clang's own instrumentation.
#
#   tests/coverage.sh [LEAST [LEAST_BRANCHES]]     fails below LEAST percent of lines (95), LEAST_BRANCHES of branches (90)
#
# Prints a table of files, then the lines that nothing ran, then `coverage PERCENT % of lines, PERCENT % of branches`. The kernel gate is not
# counted: its programs run in the kernel, and what loads them needs privilege (tests/lab, tests/long).
#   NATT_JOBS   parallel compilations and tests (all processors)
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
readonly top least=${1:-95} least_branches=${2:-90} jobs=${NATT_JOBS:-$(nproc)} build=$top/build/coverage

llvm() {
  local tool
  for tool in "$1" "$1"-{19,18,17,16,15,14}; do
    command -v "$tool" >/dev/null && { command "$tool" "${@:2}"; return; }
  done
  echo "coverage: no $1: install llvm (cmake/install_dependencies.sh test does)" >&2
  return 1
}

options=(-DCMAKE_BUILD_TYPE=Debug -DNATT_SANITIZE=OFF -DNATT_BUILD_BENCH=OFF -DNATT_BUILD_EXAMPLES=ON
  "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1 -fprofile-instr-generate -fcoverage-mapping")
command -v ccache >/dev/null &&
  options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
tarball=$(find "$top"/build/*/_ngtcp2 -maxdepth 1 -name 'ngtcp2_*.orig.tar.xz' 2>/dev/null | sort | head -n 1 || true)
[[ -n $tarball ]] && options+=("-DNATT_NGTCP2_TARBALL=$tarball")
cmake --preset asan -B "$build" "${options[@]}" >/dev/null

# Every program that tests libspa and nothing else.
mapfile -t programs < <(cmake --build "$build" --target help | sed -nE 's/^(spa_(unit|allocation)_test|replay_spa_[a-z_0-9]+): phony$/\1/p')
cmake --build "$build" --parallel "$jobs" --target "${programs[@]}"

profiles=$(mktemp -d)
trap 'rm -rf "$profiles"' EXIT
(cd "$build" && LLVM_PROFILE_FILE="$profiles/%m-%p.profraw" \
  ctest --parallel "$jobs" --output-on-failure --no-tests=error -R "^($(IFS='|'; echo "${programs[*]}"))\$")

llvm llvm-profdata merge -sparse "$profiles"/*.profraw -o "$build/spa.profdata"
# The first is an argument, the others are options.
objects=()
for program in "${programs[@]}"; do
  [[ ${#objects[@]} -eq 0 ]] || objects+=(-object)
  objects+=("$(find "$build/tests" -type f -name "$program" -perm -u+x)")
done
# Paths are as the compiler saw them, which a compiler cache makes relative to the build folder.
cd "$build"
cov() { llvm llvm-cov "$1" "${objects[@]}" -instr-profile=spa.profdata -ignore-filename-regex='(tests|usr)/' 2>/dev/null; }
cov report | tee spa_coverage.txt
echo
echo "lines that nothing ran:"
cov show | awk '/^[^ ].*:$/ { file = $0; next } /^ *[0-9]+\| *0\|/ { print file $0 }' | sed 's#^.*\(libspa/\)#\1#' | tee spa_uncovered.txt

percent=$(awk '$1 == "TOTAL" { sub("%", "", $10); print $10 }' spa_coverage.txt)
branches=$(awk '$1 == "TOTAL" { sub("%", "", $13); print $13 }' spa_coverage.txt)
echo "coverage $percent % of lines, $branches % of branches"
awk -v percent="$percent" -v least="$least" -v branches="$branches" -v least_branches="$least_branches" \
  'BEGIN { exit !(percent >= least && branches >= least_branches) }'
