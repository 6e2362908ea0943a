// SPDX-License-Identifier: Apache-2.0
#pragma once

// The SPA pairs that a broker or gateway is knocked at with, over a renewal: the older pair
// is served beside the newer until every device has used the newer one, or the roster no
// longer lists the older. What was retired stays so over a restart (natt/retired_keys.h).
//
// Sans-I/O; one thread; verifier and loader outlive it.
//
//   auto pairs = OwnKeys::without_retired(identity, std::move(pairs_of_the_file), retired);
//   OwnKeys own(identity, pairs, verifier, loader, log);
//   own.handle_roster(roster);         // at start, and for each that is accepted
//   (void)own.set(renewed_pairs);      // while it serves
//   own.retire_used();                 // once a turn

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <natt/error.h>
#include <natt/identity.h>
#include <natt/log.h>
#include <natt/retired_keys.h>
#include <natt/roster.h>
#include <natt/roster_loader.h>
#include <natt/spa/keys.h>
#include <natt/spa/verifier.h>

namespace natt {

class OwnKeys {
 public:
  // `pairs`, newest first, but for those that a former run retired: the files still hold them. The newest stays.
  [[nodiscard]] static std::vector<spa::KeyPair> without_retired(const Identity& self, std::vector<spa::KeyPair> pairs,
                                                                 const RetiredKeys& retired);

  // `pairs` is what the verifier was made with.
  OwnKeys(Identity self, const std::vector<spa::KeyPair>& pairs, spa::Verifier& verifier, RosterLoader& loader,
          LogSink log);
  OwnKeys(const OwnKeys&) = delete;
  OwnKeys& operator=(const OwnKeys&) = delete;

  // Serves these from now on, newest first; the loader has work then. kLimit for none or more than two, and then
  // nothing has changed.
  [[nodiscard]] Result<void> set(std::vector<spa::KeyPair> pairs);
  // After the loader has got it. Retires the older pair when the roster lists the newest alone.
  void handle_roster(const Roster& roster);
  // Retires the older pair when every device has used the newest.
  void retire_used();
  // The newest generation that the roster lists for this verifier, when its pair is not among ours: devices that know
  // it knock in vain.
  [[nodiscard]] std::optional<std::uint16_t> missing_in(const Roster& roster) const;

 private:
  void keep_newest(std::string_view why);

  Identity self_;
  spa::Verifier& verifier_;
  RosterLoader& loader_;
  LogSink log_;
  std::vector<spa::PublicKey> held_;  // newest first
  std::vector<SpaPublicKey> listed_;  // by the roster for this verifier
};

}  // namespace natt
