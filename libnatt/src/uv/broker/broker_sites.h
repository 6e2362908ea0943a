// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sites that a broker serves, by name, and what becomes of their rosters and keys while it
// does. Resource type on the loop's thread; loop and listener outlive it.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <natt/log.h>
#include <natt/retired_keys.h>
#include <natt/uv/roster_updater.h>

#include "src/uv/broker/broker_site.h"

namespace natt::uv {

class BrokerSites {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // The site holds the newer roster already; what it drops has to end.
    virtual void on_roster_changed(Instant now, const BrokerSite& site, const RosterChange& change) = 0;
  };

  // `persist_retry` is for rosters that could not be written.
  BrokerSites(uv_loop_s& loop, Duration persist_retry, LogSink log, RetiredKeyListener* retired_keys,
              Listener& listener);
  ~BrokerSites();
  BrokerSites(const BrokerSites&) = delete;
  BrokerSites& operator=(const BrokerSites&) = delete;

  // For a site's work that takes long.
  [[nodiscard]] uv_loop_s& loop() { return loop_; }
  // kRefused: a site of this name is there.
  [[nodiscard]] Result<BrokerSite*> add(std::unique_ptr<BrokerSite> site);
  // Null: not served.
  [[nodiscard]] BrokerSite* find(const std::string& name);
  [[nodiscard]] const BrokerSite* find(const std::string& name) const;
  [[nodiscard]] std::vector<const BrokerSite*> list() const;

  // Broker::update_roster(), load_roster().
  [[nodiscard]] Result<RosterChange> update_roster(Instant now, const std::string& name, const SignedRoster& documents);
  void load_roster(const std::string& name, RosterJob job);

  // One piece of each site's work.
  void work(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline(Instant now) const;

 private:
  class Served;
  void handle_prepared(Instant now, BrokerSite& site, Result<PreparedRoster> prepared, const Result<void>& persisted);

  uv_loop_s& loop_;
  Duration persist_retry_;
  LogSink log_;
  RetiredKeyListener* retired_keys_;
  Listener& listener_;
  std::map<std::string, std::unique_ptr<Served>> sites_;
};

}  // namespace natt::uv
