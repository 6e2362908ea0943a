// SPDX-License-Identifier: Apache-2.0
// What an outside project needs to link the kernel gate: headers, the archive, libbpf.
#include <cstdio>

#include <natt/spa/kernel_gate.h>

int main() {
  const auto gate = natt::spa::open_kernel_gate({});
  std::printf("kernel gate: %s\n", gate ? "on" : gate.error().message.c_str());
  return gate || !gate.error().message.empty() ? 0 : 1;
}
