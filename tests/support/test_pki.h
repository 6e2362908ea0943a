// SPDX-License-Identifier: Apache-2.0
#pragma once

// A site for tests: its CA, credentials for any device of it, SPA key pairs of the
// roster's shape, and a roster of what was asked for. Everything follows from the seed.
// Link `test_pki`.
//
//   TestPki site("hq");
//   auto tls = TlsContext::make(site.credentials(Role::kGateway, "gw1"), TlsDirection::kServer, "h3");

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <natt/authority.h>
#include <natt/credentials.h>
#include <natt/identity.h>
#include <natt/roster.h>
#include <natt/time.h>

#include "support/seeded_random.h"

namespace natt::test {

// 2026-11-23T00:00:00Z: when the test CAs were made and what tests pass as `wall_now`.
inline constexpr WallTime kTestNow{std::chrono::milliseconds(1'795'392'000'000)};

class TestPki {
 public:
  explicit TestPki(std::string site = "hq", std::uint64_t seed = 1);

  [[nodiscard]] Identity identity(Role role, const std::string& name) const;
  // The same device gets the same credentials each time; it is in roster() from then on.
  [[nodiscard]] const Credentials& credentials(Role role, const std::string& name);
  // Not kept and not in the roster: for expired and not yet valid ones.
  [[nodiscard]] Credentials credentials_at(Role role, const std::string& name, WallTime made,
                                           std::chrono::milliseconds lifetime);
  [[nodiscard]] IssuedCertificate issue(Role role, const std::string& name);

  // All devices so far, with made-up SPA keys unless set with device().
  [[nodiscard]] Roster roster(std::uint64_t number);
  [[nodiscard]] SignedRoster signed_roster(std::uint64_t number);
  // The roster's entry, to change keys and addresses in.
  [[nodiscard]] RosterDevice& device(Role role, const std::string& name);

  [[nodiscard]] Authority& authority() { return *authority_; }
  [[nodiscard]] const SiteCa& ca() const { return authority_->certificate(); }
  [[nodiscard]] SeededRandom& random() { return random_; }

 private:
  std::string site_;
  SeededRandom random_;
  std::unique_ptr<Authority> authority_;
  std::map<Identity, Credentials> credentials_;
  std::map<Identity, RosterDevice> devices_;
};

}  // namespace natt::test
