// SPDX-License-Identifier: Apache-2.0
#pragma once

// Brings the devices of a roster into a verifier piece by piece. Each device key costs an
// X25519 (about 40 us), so 100,000 devices at once would stop the loop for four seconds:
// the composition calls step() once a turn instead, and devices that are in already knock
// meanwhile. What a roster takes away takes effect before what it brings.
//
// Also retires a device's older keys once it has used a newer one. Sans-I/O; one thread;
// verifier and roster outlive it.
//
//   loader.handle_roster(*store.roster(), change);   // and again for each that is accepted
//   while (!loader.done()) loader.step();            // one a turn of the loop

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <natt/log.h>
#include <natt/retired_keys.h>
#include <natt/roster_store.h>
#include <natt/spa/verifier.h>

namespace natt {

struct RosterLoaderOptions {
  // The verifier's own: a broker does not knock at itself.
  Identity self;
  // A gateway takes knocks from clients only.
  bool clients_only = false;
  // What a former run had retired.
  RetiredKeys retired;
  LogSink log;
};

class RosterLoader {
 public:
  RosterLoader(RosterLoaderOptions options, spa::Verifier& verifier);
  RosterLoader(const RosterLoader&) = delete;
  RosterLoader& operator=(const RosterLoader&) = delete;

  // A roster took effect; `change` says how it differs from the one before. Up to kAtOnce devices that it drops or
  // takes keys from are refused before the return, further ones in the next steps (0.2 s for 100,000). `roster` stays
  // valid until the next call.
  void handle_roster(const Roster& roster, const RosterChange& change);
  // The verifier's own keys were exchanged: all devices are put again.
  void restart() {
    cursor_ = 0;
    making_room_ = true;
  }
  // One piece: at most about 2 ms, but 5 ms where a table has to grow.
  void step();
  [[nodiscard]] bool done() const { return urgent_.empty() && cursor_ == end() && !making_room_; }
  // Devices of the roster that were looked at and that there are, for status output.
  [[nodiscard]] std::size_t loaded() const { return cursor_; }
  [[nodiscard]] std::size_t total() const { return end(); }

  // Takes what the verifier reports, and retires the device's older keys at once.
  void handle_key_used(const spa::NewKeyUsed& used);
  // The verifier's own older key: kept with the others while the roster lists it.
  void note_own_retired(const SpaPublicKey& key);
  [[nodiscard]] const RetiredKeys& retired() const { return retired_; }
  // Lines of retired_keys.h that are to be appended to the file; empty when nothing was retired since.
  [[nodiscard]] std::string take_retired_lines() { return std::exchange(retired_lines_, {}); }

  static constexpr std::size_t kAtOnce = 1000;

 private:
  [[nodiscard]] std::size_t end() const { return roster_ == nullptr ? 0 : roster_->devices.size(); }
  [[nodiscard]] bool is_served(const Identity& identity) const;
  // Drops what the roster does not grant this device any more; derives nothing.
  void restrict(const Identity& identity);
  void step_urgent();
  void make_room();
  // The units that it took; see kPiece.
  [[nodiscard]] std::size_t put(const RosterDevice& device);

  RosterLoaderOptions options_;
  spa::Verifier& verifier_;
  RetiredKeys retired_;
  std::string retired_lines_;
  const Roster* roster_ = nullptr;
  std::size_t clients_ = 0;
  std::size_t cursor_ = 0;
  bool making_room_ = false;
  std::vector<Identity> urgent_;
};

}  // namespace natt
