// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/stun_issuer.h"

namespace natt::uv {

Result<StunCredentials> StunIssuer::issue(Instant now, const Identity& device, std::vector<SocketAddress> servers) {
  auto& issued = issued_[device];
  retire(now, issued);
  const StunCredential credential = make_stun_credential(key_, random_);
  if (auto added = server_.add_credential(device, credential); !added) return tl::unexpected(added.error());
  issued.push_back({credential.username, now + kLifetime});
  expiry_.set(device, issued.front().expires);
  return StunCredentials{.credential = credential, .lifetime = kLifetime, .servers = std::move(servers)};
}

void StunIssuer::handle_timeout(Instant now) {
  while (const auto device = expiry_.take_due(now)) {
    const auto issued = issued_.find(*device);
    if (issued == issued_.end()) continue;
    while (!issued->second.empty() && issued->second.front().expires <= now) {
      server_.remove_credential(issued->second.front().username);
      issued->second.pop_front();
    }
    if (issued->second.empty()) {
      issued_.erase(issued);
    } else {
      expiry_.set(*device, issued->second.front().expires);
    }
  }
}

std::optional<Instant> StunIssuer::next_deadline() const { return expiry_.next(); }

void StunIssuer::retire(Instant now, std::deque<Issued>& issued) {
  while (!issued.empty() && (issued.size() >= kPerDevice || issued.front().expires <= now)) {
    server_.remove_credential(issued.front().username);
    issued.pop_front();
  }
}

void StunIssuer::revoke(const Identity& device) {
  server_.remove_device(device);
  issued_.erase(device);
  expiry_.set(device, std::nullopt);
}

}  // namespace natt::uv
