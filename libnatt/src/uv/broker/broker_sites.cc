// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/broker_sites.h"

#include <natt/errc.h>

namespace natt::uv {

// A site, and what another thread prepares for it.
class BrokerSites::Served final : private RosterUpdater::Listener {
 public:
  Served(BrokerSites& sites, std::unique_ptr<BrokerSite> site)
      : sites_(sites), site_(std::move(site)), updater_(sites.loop_, site_->roster(), *this, sites.persist_retry_) {}
  [[nodiscard]] BrokerSite& site() { return *site_; }
  [[nodiscard]] RosterUpdater& updater() { return updater_; }

 private:
  void on_roster_prepared(Instant now, Result<PreparedRoster> prepared, const Result<void>& persisted) override {
    sites_.handle_prepared(now, *site_, std::move(prepared), persisted);
  }
  void on_roster_rewritten(Instant, const Result<void>& persisted) override { site_->note_persisted(persisted); }

  BrokerSites& sites_;
  std::unique_ptr<BrokerSite> site_;
  RosterUpdater updater_;
};

BrokerSites::BrokerSites(uv_loop_s& loop, Duration persist_retry, LogSink log, RetiredKeyListener* retired_keys,
                         Listener& listener)
    : loop_(loop), persist_retry_(persist_retry), log_(log), retired_keys_(retired_keys), listener_(listener) {}

BrokerSites::~BrokerSites() = default;

Result<BrokerSite*> BrokerSites::add(std::unique_ptr<BrokerSite> site) {
  const std::string name = site->name();
  if (sites_.contains(name)) return fail(Errc::kRefused, "site " + name + " is configured twice");
  const auto added = sites_.emplace(name, std::make_unique<Served>(*this, std::move(site))).first;
  return &added->second->site();
}

BrokerSite* BrokerSites::find(const std::string& name) {
  const auto found = sites_.find(name);
  return found == sites_.end() ? nullptr : &found->second->site();
}

const BrokerSite* BrokerSites::find(const std::string& name) const {
  const auto found = sites_.find(name);
  return found == sites_.end() ? nullptr : &found->second->site();
}

std::vector<const BrokerSite*> BrokerSites::list() const {
  std::vector<const BrokerSite*> sites;
  for (const auto& [name, served] : sites_) sites.push_back(&served->site());
  return sites;
}

Result<RosterChange> BrokerSites::update_roster(Instant now, const std::string& name, const SignedRoster& documents) {
  const auto found = sites_.find(name);
  if (found == sites_.end()) return fail(Errc::kUnavailable, "site " + name + " is not served here");
  found->second->updater().settle();
  BrokerSite& site = found->second->site();
  auto change = site.update(documents);
  if (change && change->number != 0) listener_.on_roster_changed(now, site, *change);
  return change;
}

void BrokerSites::load_roster(const std::string& name, RosterJob job) {
  if (const auto found = sites_.find(name); found != sites_.end()) found->second->updater().start(std::move(job));
}

void BrokerSites::handle_prepared(Instant now, BrokerSite& site, Result<PreparedRoster> prepared,
                                  const Result<void>& persisted) {
  if (!prepared) return site.note_rejected(prepared.error());
  // One that is held already was not written again.
  if (prepared->roster) site.note_persisted(persisted);
  std::unique_ptr<const Roster> replaced;
  const auto change = site.accept(std::move(*prepared), replaced);
  if (change && change->number != 0) listener_.on_roster_changed(now, site, *change);
  discard_roster(loop_, std::move(replaced));
}

void BrokerSites::work(Instant now, WallTime wall_now) {
  for (const auto& [name, served] : sites_) {
    served->site().work(now, wall_now);
    const std::string retired = served->site().take_retired_lines();
    if (!retired.empty() && retired_keys_ != nullptr) retired_keys_->on_keys_retired(name, retired);
  }
}

std::optional<Instant> BrokerSites::next_deadline(Instant now) const {
  std::optional<Instant> deadline;
  for (const auto& [name, served] : sites_) deadline = earlier(deadline, served->site().next_deadline(now));
  return deadline;
}

}  // namespace natt::uv
