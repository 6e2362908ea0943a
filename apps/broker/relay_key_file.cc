// SPDX-License-Identifier: Apache-2.0
#include "apps/broker/relay_key_file.h"

#include <natt/errc.h>

#include "apps/config/state_dir.h"

namespace natt::broker {

Result<RelayKey> load_relay_key(const std::filesystem::path& state_dir, Random& random) {
  const std::filesystem::path file = state_dir / "relay.key";
  std::error_code failed;
  if (!std::filesystem::exists(file, failed)) {
    const RelayKey key(random.bytes<RelayKey::kSize>());
    if (auto written = config::write_file_atomically(file, key.view()); !written) {
      return tl::unexpected(written.error());
    }
    return key;
  }
  auto text = config::read_file(file, RelayKey::kSize + 1, config::Exposure::kSecret);
  if (!text) return tl::unexpected(text.error());
  if (text->size() != RelayKey::kSize) {
    return fail(Errc::kMalformed, file.string() + ": not a relay key; remove it and relayed sessions start anew");
  }
  const RelayKey key(as_bytes(*text).first<RelayKey::kSize>());
  secure_zero({reinterpret_cast<std::uint8_t*>(text->data()), text->size()});
  return key;
}

}  // namespace natt::broker
