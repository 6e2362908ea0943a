// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads a journal of a former run and believes nothing: either every part that counts is
// as it was written, or one reason why not. Whether it is the newest copy of itself is
// another question (journal_trust.h).

#include <string>
#include <variant>
#include <vector>

#include <natt/bytes.h>
#include <natt/spa/device_id.h>
#include <natt/spa/host_clock.h>

#include "journal_layout.h"

namespace natt::spa {

// Where a journal is read from. Reads are within size().
class JournalSource {
 public:
  virtual ~JournalSource() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  // False when not all of `out` could be read.
  [[nodiscard]] virtual bool read(std::uint64_t offset, MutableBytes out) = 0;
};

struct JournalSegment {
  Slot slot;
  bool revisited = false;
  std::vector<ReplayRecord> records;
};

struct JournalContents {
  JournalOrigin origin;
  HostTime last_beat;
  WallTime newest{};
  Duration accept_from{};  // time since boot
  SlotHistory lost;
  std::vector<JournalSegment> segments;
};

struct JournalDamage {
  std::string reason;  // one clause: "its header is damaged"
};

// Memory: 24 octets per record that the journal says it holds, at most about its own size.
[[nodiscard]] std::variant<JournalContents, JournalDamage> read_journal(JournalSource& source,
                                                                        const DeviceId& verifier);

}  // namespace natt::spa
