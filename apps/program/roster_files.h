// SPDX-License-Identifier: Apache-2.0
#pragma once

// The roster of one site as files: the newest at start, the file beside the configuration
// watched while the program runs, and the accepted one persisted. Resource type on the loop.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <natt/log.h>
#include <natt/roster.h>
#include <natt/roster_store.h>
#include <natt/uv/roster_updater.h>

#include "apps/config/site_config.h"
#include "apps/control/file_watch.h"

struct uv_loop_s;

namespace natt::program {

// The newest of the embedded, the neighbouring and the persisted roster of the site.
[[nodiscard]] Result<SignedRoster> newest_roster(const config::SiteConfig& site, const std::filesystem::path& state_dir,
                                                 LogSink log);

// Writes to the state folder; a failure is a log line and, for health, its reason and what to do about it (empty: it is
// there). The roster is in force all the same.
std::string persist_roster(const SignedRoster& documents, const std::string& site,
                           const std::filesystem::path& state_dir, LogSink log);

// Reads the file beside the configuration and persists what is newer, for RosterUpdater.
[[nodiscard]] natt::uv::RosterJob roster_job(const config::SiteConfig& site, const std::filesystem::path& state_dir);
// The same for the roster that stands in the configuration.
[[nodiscard]] natt::uv::RosterJob embedded_roster_job(const config::SiteConfig& site,
                                                      const std::filesystem::path& state_dir);

class RosterWatch {
 public:
  // Gets what the file holds now, unverified.
  using Changed = std::function<void(const SignedRoster& documents)>;
  RosterWatch(uv_loop_s& loop, const config::SiteConfig& site, LogSink log, Changed changed);
  RosterWatch(const RosterWatch&) = delete;
  RosterWatch& operator=(const RosterWatch&) = delete;

  // Looks at the file now; also after SIGHUP.
  void reload();
  // Why the file could not be read when it was looked at last.
  [[nodiscard]] const std::optional<RosterRejection>& unreadable() const { return unreadable_; }

 private:
  void refuse(const char* event, const Error& error);

  std::filesystem::path file_;
  LogSink log_;
  Changed changed_;
  std::optional<RosterRejection> unreadable_;
  std::unique_ptr<control::FileWatch> watch_;
};

}  // namespace natt::program
