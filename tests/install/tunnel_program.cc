// SPDX-License-Identifier: Apache-2.0
// What an outside project needs to link libtunnel: ngtcp2's archives beside natt's, nghttp3.
#include <cstdio>

#include <natt/address.h>
#include <natt/tunnel/capsule.h>

int main() {
  natt::ByteBuffer bytes;
  const natt::tunnel::AddressAssign empty;
  if (!natt::tunnel::serialize_capsule(empty, bytes) || bytes.empty()) return 1;
  std::puts("libtunnel writes capsules");
  return 0;
}
