// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/stun_issuer.h"

namespace natt::uv {

Result<StunCredentials> StunIssuer::issue(Instant now, const Identity& device, std::vector<SocketAddress> servers) {
  auto& issued = issued_[device];
  retire(now, issued);
  const StunCredential credential = make_stun_credential(key_, random_);
  if (auto added = server_.add_credential(device, credential); !added) return tl::unexpected(added.error());
  issued.push_back({credential.username, now + kLifetime});
  return StunCredentials{.credential = credential, .lifetime = kLifetime, .servers = std::move(servers)};
}

void StunIssuer::retire(Instant now, std::deque<Issued>& issued) {
  while (!issued.empty() && (issued.size() >= kPerDevice || issued.front().expires <= now)) {
    server_.remove_credential(issued.front().username);
    issued.pop_front();
  }
}

void StunIssuer::revoke(const Identity& device) {
  server_.remove_device(device);
  issued_.erase(device);
}

}  // namespace natt::uv
