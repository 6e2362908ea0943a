// SPDX-License-Identifier: Apache-2.0
#pragma once

// The replay journal of one verifier, as the drivers of broker and gateway keep it: opened
// before the verifier is made, beating while it serves, growing with the roster. One per
// verifier identity, however many loops there are: verifier and guard live on one of them.
//
// Resource type on the loop's thread; it outlives the verifier, and random outlives it.

#include <filesystem>
#include <memory>
#include <optional>

#include <natt/error.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/roster.h>
#include <natt/spa/mapped_journal.h>
#include <natt/spa/verifier.h>

namespace natt::uv {

class ReplayGuard {
 public:
  struct Options {
    // Empty: no journal. Then frames made before the start are refused, and one that a former run accepted may be
    // accepted once more within the lead of its sender's clock.
    std::filesystem::path journal;
    Identity identity;  // of the verifier
    // When the verifier's only SPA key was made; absent when it has several.
    std::optional<WallTime> keys_made;
    LogSink log;
  };

  // Errors: spa::Errc::kInUse when another process serves as this verifier.
  [[nodiscard]] static Result<std::unique_ptr<ReplayGuard>> open(const Options& options, const Roster& roster,
                                                                 Random& random);
  ReplayGuard(const ReplayGuard&) = delete;
  ReplayGuard& operator=(const ReplayGuard&) = delete;

  // Before the verifier is made.
  void brief(spa::VerifierOptions& options, Instant now);
  // After it was made, before its first frame.
  void restore(spa::Verifier& verifier, WallTime wall_now);
  // With the verifier's own timeouts: at least once a second.
  void handle_timeout();
  // After the roster has changed.
  void make_room(const Roster& roster);

  [[nodiscard]] std::optional<spa::ReplayStatus> status() const;

 private:
  explicit ReplayGuard(const Options& options) : options_(options) {}

  Options options_;
  spa::SystemHostClock clock_;
  std::unique_ptr<spa::MappedJournal> journal_;
};

}  // namespace natt::uv
