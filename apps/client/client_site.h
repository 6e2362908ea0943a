// SPDX-License-Identifier: Apache-2.0
#pragma once

// One site of the client program: its SiteClient, roster files and waiting streams.

#include "apps/client/client_app.h"

namespace natt::client {

class ClientApp::Site final : private tunnel::uv::SiteClient::Listener {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Site>> open(uv_loop_s& loop, const config::SiteConfig& site,
                                                          const config::ClientConfig& config,
                                                          const config::NattSettings& settings, Random& random,
                                                          LogSink log);
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  [[nodiscard]] const std::string& name() const { return site_.name; }
  [[nodiscard]] tunnel::uv::SiteClient& client() { return *client_; }
  [[nodiscard]] const tunnel::uv::SiteClient& client() const { return *client_; }
  [[nodiscard]] StreamWaiters& waiters() { return waiters_; }
  void reload() { watch_->reload(); }
  void add_roster_health(control::Health& health) const;

 private:
  Site(const config::SiteConfig& site, const config::StateConfig& state, LogSink log)
      : site_(site), state_(state), log_(log) {}
  void on_stream_opened(Instant now, tunnel::uv::StreamRequestId id) override { waiters_.handle_opened(now, id); }
  void on_stream_failed(Instant now, tunnel::uv::StreamRequestId id,
                        const tunnel::uv::StreamFailure& failure) override;
  bool persist_roster(const SignedRoster& documents) override;

  config::SiteConfig site_;
  config::StateConfig state_;
  LogSink log_;
  StreamWaiters waiters_;
  std::unique_ptr<tunnel::uv::SiteClient> client_;
  std::unique_ptr<program::RosterWatch> watch_;
  std::string roster_not_persisted_;  // the reason
};

}  // namespace natt::client
