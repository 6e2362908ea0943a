#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The README's two commands on a machine that has nothing: a Debian 12 made by
# debootstrap, a clean clone of HEAD, examples/quickstart.sh (as root, then again
# as an ordinary user) and tests/run.sh. Needs root, about 6 GB of disk and the
# mirror that this machine's own apt configuration names. Nothing stays behind.
#
#   tests/fresh_machine.sh [FOLDER [COMMAND...]]
#
# FOLDER    where the machine is made (/var/tmp)
# COMMAND   runs in the clone instead of the README's commands
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly top
readonly suite=bookworm

say() { printf 'fresh_machine: %s\n' "$*"; }
fail() { printf 'fresh_machine: %s\n' "$*" >&2; exit 1; }

mirror() {
  # shellcheck disable=SC2016  # apt's own placeholders.
  apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' |
    awk '$2 ~ /^(bookworm|trixie|forky|sid|stable)$/ && $3 == "main" && !found++ { print $1 }'
}

# --- in mount and process namespaces of its own -----------------------------------------

# What a booted machine has mounted. The new root becomes / for good (a chroot would
# forbid user namespaces), and the old one goes out of sight.
furnish() {
  local root=$1
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t devtmpfs devtmpfs "$root/dev"
  mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/mnt/old"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t tmpfs tmpfs "$root/run"
  cd "$root"
  pivot_root . mnt/old
  umount -l /mnt/old
}

settle() {
  export HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  unset TMPDIR
  cd /natt
}

# Each command of the README as the newcomer types it; the first that fails ends the run.
newcomer() {
  settle
  say "examples/quickstart.sh"
  time ./examples/quickstart.sh
  say "examples/quickstart.sh a second time"
  time ./examples/quickstart.sh
  say "examples/quickstart.sh as an ordinary user"
  useradd --create-home newcomer
  cp -r /natt /home/newcomer/natt && chown -R newcomer: /home/newcomer/natt
  # A build folder knows its own path: the user builds anew.
  rm -rf /home/newcomer/natt/build
  time su newcomer -c 'cd ~/natt && ./examples/quickstart.sh'
  rm -rf /home/newcomer/natt
  say "tests/run.sh"
  time ./tests/run.sh
  say "both commands ended with success"
}

if [[ ${1:-} == --inside ]]; then
  furnish "$2"
  if [[ $# -gt 2 ]]; then settle && "${@:3}"; else newcomer; fi
  exit
fi

# --- outside --------------------------------------------------------------------------

[[ $(id -u) -eq 0 ]] || fail "debootstrap needs root"
if ! command -v debootstrap >/dev/null; then
  say "installing debootstrap"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends debootstrap
fi
[[ -z $(git -C "$top" status --porcelain) ]] || say "uncommitted changes are not part of the clone"
site=$(mirror)
[[ -n $site ]] || fail "apt's configuration names no Debian archive"

machine=$(mktemp -d "${1:-/var/tmp}/natt-fresh.XXXXXX")
# The mounts are in a namespace that ends with the command below, so this meets plain files only.
trap 'rm -rf --one-file-system "$machine"' EXIT
chmod 0755 "$machine"
say "making a Debian 12 in $machine"
debootstrap --variant=minbase --include=ca-certificates "$suite" "$machine" "$site" >"$machine.log" 2>&1 || {
  tail -n 20 "$machine.log" >&2
  rm -f "$machine.log"
  fail "debootstrap failed"
}
rm -f "$machine.log"
printf 'deb %s %s main\n' "$site" "$suite" >"$machine/etc/apt/sources.list"
apt-config dump Acquire::http::Proxy Acquire::https::Proxy >"$machine/etc/apt/apt.conf.d/50proxy"
cp -L /etc/resolv.conf "$machine/etc/resolv.conf"
git clone -q --no-local "$top" "$machine/natt"

status=0
unshare --mount --pid --fork --kill-child bash "${BASH_SOURCE[0]}" --inside "$machine" "${@:2}" || status=$?
[[ $status -eq 0 ]] || fail "ended with status $status"
