# SPDX-License-Identifier: Apache-2.0
# Every dependency, why it is here, and how it is found. Nothing is vendored;
# cmake/install_dependencies.sh installs the Debian packages.

find_package(PkgConfig REQUIRED)

# SPA cryptography: BLAKE2b, SipHash, ChaCha20-Poly1305, X25519.
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
# Loading the kernel gate.
if(NATT_KERNEL_GATE)
  pkg_check_modules(BPF REQUIRED IMPORTED_TARGET libbpf>=1.0)
endif()
# Event loop of the drivers and programs.
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
# HTTP/3 framing and QPACK; 1.8 is the version these sources were written for.
pkg_check_modules(NGHTTP3 REQUIRED IMPORTED_TARGET libnghttp3>=1.8)
# HTTP/2 framing and HPACK, with the limit of CONTINUATION frames of CVE-2024-28182, which Debian has in its 1.52.
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
# Signaling messages.
find_package(Protobuf REQUIRED)
# Value-or-error until std::expected is there.
find_package(tl-expected REQUIRED)
# TLS and X.509.
find_package(BoringSSL REQUIRED)
# QUIC.
find_package(Ngtcp2 REQUIRED)

# Formatting of messages and log lines.
find_package(fmt REQUIRED)

if(NATT_BUILD_APPS)
  find_package(spdlog REQUIRED)
  find_package(tomlplusplus REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(nlohmann_json REQUIRED)
  # The text of /metrics. By pkg-config: the CMake package wants civetweb and curl for parts that are not used.
  pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)
endif()
if(NATT_BUILD_TESTS)
  find_package(Catch2 3 REQUIRED)
endif()
