// SPDX-License-Identifier: Apache-2.0
#pragma once

// From a `[[site]]` as it stands in the file to what the libraries take: checked
// credentials, SPA key pairs, and a roster store that holds the newest roster there is.
// The newest of the file's own, the one beside it and the persisted one wins.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <natt/credentials.h>
#include <natt/error.h>
#include <natt/log.h>
#include <natt/roster.h>
#include <natt/roster_store.h>

#include "apps/config/site_config.h"

namespace natt::config {

// Whether key, certificate, CA and identity belong together, and the embedded roster is
// the CA's: also done while a file is loaded, so that --check finds it. Errors name the key.
[[nodiscard]] Result<Credentials> make_credentials(const SiteConfig& site);

// Whether two readings of a file hold the same SPA keys.
[[nodiscard]] bool same_keys(const SiteConfig& a, const SiteConfig& b);

// What this role goes by (natt/roster_store.h).
[[nodiscard]] RosterView roster_view(Role role);

// Offers the embedded, the neighbouring and the persisted roster to `store`. A file that is
// missing is none; a damaged or older one is a log line. The embedded one has to be good.
[[nodiscard]] Result<void> load_rosters(const SiteConfig& site, const std::filesystem::path& state_dir,
                                        RosterStore& store, LogSink log);

// Offers the file beside the configuration, when it is there (after FileWatch told of it).
// An absent file is no change.
[[nodiscard]] Result<RosterChange> read_roster_file(const SiteConfig& site, RosterStore& store);

// Writes what the store holds to `<state dir>/roster-<site>`; before acting on a change.
[[nodiscard]] Result<void> persist_roster(const RosterStore& store, const std::string& site,
                                          const std::filesystem::path& state_dir);

// Of `[[site.broker]]` entries with a mode, by name.
[[nodiscard]] std::map<std::string, SpaMode> broker_modes_of(const SiteConfig& site);
// Brokers and gateways to talk to: the roster's, except where the configuration names its own
// addresses for one.
[[nodiscard]] std::vector<BrokerPeer> brokers_of(const SiteConfig& site, const Roster& roster);
[[nodiscard]] std::vector<GatewayPeer> gateways_of(const SiteConfig& site, const Roster& roster);

}  // namespace natt::config
