// SPDX-License-Identifier: Apache-2.0
// What an outside project needs to link libspa: headers, the archive, libsodium.
#include <array>
#include <cstdint>
#include <cstdio>

#include <natt/identity.h>
#include <natt/spa/frame.h>

int main() {
  const std::array<std::uint8_t, 5> record{22, 3, 3, 0, 0};
  const auto binding = natt::spa::ChannelBinding::of_record(record);
  std::printf("libspa binds a record with %zu octets\n", binding.bytes.size());
  return binding == natt::spa::ChannelBinding{} ? 1 : 0;
}
