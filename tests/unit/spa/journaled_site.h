// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <catch2/catch_test_macros.hpp>

#include "journal_folder.h"
#include "spa_site.h"

namespace natt::test {

// A verifier with its journal, as a program has them, and the restarts of both.
struct JournaledSite : OneClientSite {
  JournalFolder folder;
  std::unique_ptr<spa::MappedJournal> journal;
  std::unique_ptr<spa::Verifier> journaled;

  JournaledSite() { wall = folder.clock.time.wall; }

  void pass(Duration by) {
    advance(by);
    folder.clock.pass(by);
    if (journaled) journaled->handle_timeout(now, wall);
    if (journal) journal->handle_timeout();
  }
  void stop() {
    journaled.reset();
    journal.reset();
  }
  spa::ReplayState start() {
    stop();
    journal = folder.open();
    auto made = options();
    journal->brief(made, now);
    journaled = std::make_unique<spa::Verifier>(std::move(made), random);
    enroll(*journaled);
    journal->restore(*journaled, wall);
    journaled->handle_timeout(now, wall);
    return journal->status().state;
  }
  // Serving without any quarantine left.
  void start_settled() {
    start();
    for (int i = 0; i < 200; ++i) pass(std::chrono::seconds(1));
    REQUIRE(start() == spa::ReplayState::kComplete);
    REQUIRE_FALSE(journal->status().accept_from);
  }
  bool try_knock(ByteView datagram) { return knock(*journaled, datagram).has_value(); }
};

}  // namespace natt::test
