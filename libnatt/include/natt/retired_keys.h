// SPDX-License-Identifier: Apache-2.0
#pragma once

// The SPA keys of devices that a verifier no longer takes although its roster lists them:
// their owner has used a newer one since (docs/WIRE.md section 1.1). A broker or gateway
// cannot sign a roster without them, so it remembers them itself, over restarts too.
//
// A key is named by device, generation and the key: a device that was revoked and enrolled
// again starts over at generation 1. Value type. The composition appends line() of each new
// one to a file, and at start parses that file, prunes, and writes serialize() in its place.

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <natt/error.h>
#include <natt/roster.h>

namespace natt {

class RetiredKeys {
 public:
  void add(const Identity& device, const SpaPublicKey& key);
  [[nodiscard]] bool contains(const Identity& device, const SpaPublicKey& key) const;
  // The same for whoever holds the key itself and not its generation.
  [[nodiscard]] bool contains_key(const Identity& device, const std::array<std::uint8_t, 32>& key) const;
  // The keys of a device that may be taken. When all of them were retired the CA means to have one back (its folder
  // was restored from a backup): then all of them.
  [[nodiscard]] std::vector<SpaPublicKey> usable(const RosterDevice& device) const;
  // Forgets what is not listed any more, and so cannot come back: of one device, of a device that is gone, of all.
  // The roster bounds the set.
  void keep_listed(const RosterDevice& device);
  void forget(const Identity& device);
  void prune(const Roster& roster);
  [[nodiscard]] std::size_t size() const { return size_; }

  // "URI GENERATION KEY-IN-HEX" and a line feed.
  [[nodiscard]] static std::string line(const Identity& device, const SpaPublicKey& key);
  [[nodiscard]] std::string serialize() const;
  // kMalformed names the line. A last line without its line feed was being written when the program died: ignored.
  [[nodiscard]] static Result<RetiredKeys> parse(std::string_view text);
  friend bool operator==(const RetiredKeys&, const RetiredKeys&) = default;

 private:
  std::map<Identity, std::vector<SpaPublicKey>> keys_;
  std::size_t size_ = 0;
};

// Who appends them to the file.
class RetiredKeyListener {
 public:
  virtual ~RetiredKeyListener() = default;
  virtual void on_keys_retired(const std::string& site, const std::string& lines) = 0;
};

}  // namespace natt
