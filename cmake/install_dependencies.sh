#!/usr/bin/env bash
# Installs what natt needs on Debian 12 or later, and says what it does.
#
#   cmake/install_dependencies.sh [build|test]
#
# build  compilers and libraries: enough for the programs and the quickstart.
# test   also what the tests drive or compare with (default).
#
# Only missing packages are installed; with nothing missing no privilege is
# needed and nothing is contacted. The mirror is taken from this machine's own
# apt configuration.
set -euo pipefail

readonly scope=${1:-test}
readonly backports_list=/etc/apt/sources.list.d/natt-backports.sources

build_packages=(
  g++ cmake ninja-build pkg-config ca-certificates dpkg-dev xz-utils
  libuv1-dev libsodium-dev libbpf-dev clang libnghttp2-dev libprotobuf-dev protobuf-compiler libexpected-dev
  libfmt-dev libspdlog-dev libtomlplusplus-dev libcli11-dev nlohmann-json3-dev
  prometheus-cpp-dev
  iproute2 nftables netbase python3 util-linux procps curl
)
# From bookworm-backports on Debian 12; later releases have them in main.
backports_packages=(android-libboringssl-dev libnghttp3-dev libcatch2-dev catch2)
test_packages=(clang-format libclang-rt-14-dev lld llvm git coturn tshark jq openssl iputils-ping
  nmap fwknop-server fwknop-client iptables bind9-dnsutils python3-numpy spin python3-prometheus-client faketime)

say() { printf 'natt: %s\n' "$*"; }
fail() { printf 'natt: %s\n' "$*" >&2; exit 1; }

as_root() {
  local -a with=(env DEBIAN_FRONTEND=noninteractive)
  if [[ $(id -u) -eq 0 ]]; then "${with[@]}" "$@"; return; fi
  command -v sudo >/dev/null || fail "not root and no sudo: install these yourself, then run again: $*"
  say "sudo $*"
  sudo "${with[@]}" "$@"
}

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# BoringSSL, nghttp3 and Catch2 of Debian 12 proper are too old: their
# backported versions count, any other does not.
installed_recent() {
  installed "$1" || return 1
  local version
  version=$(dpkg-query -W -f '${Version}' "$1")
  case $1 in
    android-libboringssl-dev) dpkg --compare-versions "$version" ge 14 ;;
    libnghttp3-dev) dpkg --compare-versions "$version" ge 1.8 ;;
    libcatch2-dev) dpkg --compare-versions "$version" ge 3 ;;
    *) true ;;
  esac
}

codename() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# Of apt's index targets; read to the end, because under pipefail a reader that stops early is a failure.
index_targets() {
  # shellcheck disable=SC2016  # apt's own placeholders.
  apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT) $(CREATED_BY)'
}

# The mirror this machine already uses for the Debian archive itself.
mirror() { index_targets | awk -v suite="$(codename)" '$2 == suite && $3 == "main" && !found++ { print $1 }'; }

has_backports() {
  index_targets | awk '$2 == "bookworm-backports" { found[$4] = 1 } END { exit !(found["Packages"] && found["Sources"]) }'
}

add_backports() {
  [[ $(codename) == bookworm ]] || return 0
  has_backports && return 0
  local site
  site=$(mirror)
  [[ -n $site ]] || fail "no Debian archive in the apt configuration: add one, or bookworm-backports by hand"
  say "adding the bookworm-backports suite of this machine's mirror as $backports_list"
  as_root tee "$backports_list" >/dev/null <<LIST
Types: deb deb-src
URIs: $site
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
LIST
}

missing=()
missing_backports=()
for package in "${build_packages[@]}"; do installed "$package" || missing+=("$package"); done
if [[ $scope == test ]]; then
  for package in "${test_packages[@]}"; do installed "$package" || missing+=("$package"); done
elif [[ $scope != build ]]; then
  fail "unknown scope '$scope': say build or test"
fi
for package in "${backports_packages[@]}"; do
  installed_recent "$package" || missing_backports+=("$package")
done

# The ngtcp2 source tarball comes from the same suite (cmake/FindNgtcp2.cmake).
needs_sources=0
[[ $(codename) == bookworm ]] && ! has_backports && needs_sources=1

if [[ ${#missing[@]} -eq 0 && ${#missing_backports[@]} -eq 0 && $needs_sources -eq 0 ]]; then
  say "all packages are installed"
  exit 0
fi

apt_options=(-y -q --no-install-recommends -o Dpkg::Use-Pty=0)
add_backports
as_root apt-get update -q
if [[ ${#missing_backports[@]} -gt 0 ]]; then
  say "installing ${missing_backports[*]}"
  target=()
  [[ $(codename) == bookworm ]] && target=(-t bookworm-backports)
  # One transaction: libspdlog-dev wants catch2, and 2.13 conflicts with 3.x.
  as_root apt-get install "${apt_options[@]}" "${target[@]}" "${missing_backports[@]}"
fi
if [[ ${#missing[@]} -gt 0 ]]; then
  say "installing ${missing[*]}"
  as_root apt-get install "${apt_options[@]}" "${missing[@]}"
fi
