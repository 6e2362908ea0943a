// SPDX-License-Identifier: Apache-2.0
#pragma once

// The sessions of a PunchAgent: by id, by the ufrag their checks name, and by the
// time at which something has to be done for them. Owns them. Bounded by its user.

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/punch/session_state.h"

namespace natt {

class SessionTable {
 public:
  // False when the id or the ufrag is taken.
  [[nodiscard]] bool add(std::unique_ptr<SessionState> session);
  void remove(PunchSessionId id);

  [[nodiscard]] SessionState* find(PunchSessionId id) const;
  [[nodiscard]] SessionState* find_by_ufrag(std::string_view ufrag) const;
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }

  // To be called after each change of a session's deadline.
  void file(SessionState& session);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::vector<PunchSessionId> due(Instant now) const;

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };

  std::unordered_map<PunchSessionId, std::unique_ptr<SessionState>> by_id_;
  std::unordered_map<std::string, SessionState*, TextHash, std::equal_to<>> by_ufrag_;
  std::set<std::pair<Instant, PunchSessionId>> by_deadline_;
};

}  // namespace natt
