// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/device_id.h>

#include <natt/blake2b.h>

namespace natt::spa {

DeviceId DeviceId::of(const Identity& identity) { return {blake2b<16>(as_bytes(identity.uri()))}; }

}  // namespace natt::spa
