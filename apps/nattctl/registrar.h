// SPDX-License-Identifier: Apache-2.0
#pragma once

// Enrolls, renews and revokes the devices of one site. Changes collect in memory;
// save() signs the next roster and writes everything in one commit of the folder.
//
// Resource type; `folder` and `random` outlive it.
//
//   auto registrar = Registrar::open(*folder, wall_now, random);
//   if (auto done = (*registrar)->revoke(identity); done) done = (*registrar)->save();

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <natt/authority.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/random.h>
#include <natt/roster.h>
#include <natt/time.h>

#include "apps/nattctl/device_file.h"
#include "apps/nattctl/site_folder.h"
#include "apps/nattctl/site_record.h"

namespace natt::ctl {

// After this without a new roster every device of the site warns that it may have missed a
// revocation. Any enroll, renew, revoke or sign makes a new one; a quarter is what operators
// plan in, and shorter would train them to ignore the warning.
inline constexpr std::chrono::hours kRosterLifetime{24 * 90};

struct Enrollment {
  Role role = Role::kClient;
  std::string name;
  std::vector<SocketAddress> addresses;  // brokers: at least one; gateways: the public ones, if any
  std::uint16_t dns_port = 53;           // brokers
  std::optional<config::SpaMode> spa_mode = {};  // brokers that differ from their site
};

struct Renewal {
  std::uint16_t generation = 0;
  std::vector<std::uint16_t> kept;     // older ones that go on working until the new one was used
  std::vector<std::uint16_t> dropped;  // older ones that there was no room for
};

class Registrar {
 public:
  // A new site with a new CA, in a folder that holds none.
  [[nodiscard]] static Result<std::unique_ptr<Registrar>> create(SiteFolder& folder, SiteRecord record,
                                                                 WallTime wall_now, Random& random);
  [[nodiscard]] static Result<std::unique_ptr<Registrar>> open(SiteFolder& folder, WallTime wall_now, Random& random);
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  [[nodiscard]] Result<void> enroll(const Enrollment& enrollment);
  // New certificate and a new SPA key beside those there are: which of them the device uses nobody knows here, as a
  // file may be handed out late or never. Only what the roster or the file has no room for goes, the oldest first.
  [[nodiscard]] Result<Renewal> renew(const Identity& identity);
  // Takes all SPA keys but the newest out of the roster. Returns the generations that went.
  [[nodiscard]] Result<std::vector<std::uint16_t>> retire(const Identity& identity);
  [[nodiscard]] Result<void> revoke(const Identity& identity);
  [[nodiscard]] Result<void> save();

  // A device by its name, by "role/name" where two share one, or by its whole URI.
  [[nodiscard]] Result<Identity> find(std::string_view name) const;
  // Whether a device of that name was revoked and is not enrolled now.
  [[nodiscard]] bool was_revoked(std::string_view name) const;
  [[nodiscard]] const SiteRecord& record() const { return record_; }
  [[nodiscard]] const Roster& roster() const { return roster_; }
  // The file of a device: "broker.toml", "broker-b2.toml", "gateway-gw1.toml", "client-alice.toml".
  [[nodiscard]] std::string file_of(const Identity& identity) const;

 private:
  // A device whose file is to be written.
  struct Pending {
    DeviceFile file;
    bool is_renewal = false;
  };

  Registrar(SiteFolder& folder, SiteRecord record, std::unique_ptr<Authority> authority, WallTime wall_now,
            Random& random);
  [[nodiscard]] Result<void> load();
  [[nodiscard]] Result<DeviceSecrets> issue(const Identity& identity, std::uint16_t generation);
  [[nodiscard]] Result<std::vector<config::SpaKey>> current_keys(const Identity& identity) const;
  [[nodiscard]] Result<std::string> render(Pending& pending, const SignedRoster& documents) const;
  [[nodiscard]] RosterDevice* device(const Identity& identity);

  SiteFolder& folder_;
  SiteRecord record_;
  std::unique_ptr<Authority> authority_;
  WallTime wall_now_;
  Random& random_;
  Roster roster_;
  std::vector<IssuedRecord> ledger_;
  std::vector<Pending> pending_;
};

}  // namespace natt::ctl
