// SPDX-License-Identifier: Apache-2.0
#include "apps/program/roster_files.h"

#include <cerrno>

#include <natt/roster_store.h>

#include "apps/config/site_material.h"
#include "apps/config/state_dir.h"

namespace natt::program {
namespace {

// What the operator is to do about a write that failed.
std::string_view advice_for(const std::error_code& code) {
  if (code.category() != std::generic_category()) return "see that this program can write there";
  switch (code.value()) {
    case ENOSPC:
    case EDQUOT: return "make room on its disk";
    case EROFS: return "it is read-only for this program: mount it writable, or set [state] dir to a folder that is";
    case EACCES:
    case EPERM: return "let this program's user write there";
    case EIO: return "its disk fails: replace it";
    default: return "see that this program can write there";
  }
}

// Where newest_roster() finds it.
Result<void> write_roster(const SignedRoster& documents, const std::filesystem::path& file) {
  auto written = config::write_file_atomically(file, documents.serialize());
  if (!written) written.error().message += "; " + std::string(advice_for(written.error().code));
  return written;
}

}  // namespace

Result<SignedRoster> newest_roster(const config::SiteConfig& site, const std::filesystem::path& state_dir,
                                   LogSink log) {
  auto ca = SiteCa::from_pem(site.ca_pem);
  if (!ca) return tl::unexpected(ca.error());
  RosterStore store(std::move(*ca), config::roster_view(site.identity.role), log);
  if (auto loaded = config::load_rosters(site, state_dir, store, log); !loaded) return tl::unexpected(loaded.error());
  return store.documents();
}

std::string persist_roster(const SignedRoster& documents, const std::string& site,
                           const std::filesystem::path& state_dir, LogSink log) {
  const auto written = write_roster(documents, state_dir / ("roster-" + site));
  if (written) return {};
  log(LogLevel::kError, "natt.roster.not_persisted site=" + site + " reason=\"" + written.error().message + "\"");
  return written.error().message;
}

namespace {

Result<SignedRoster> read_roster(const std::filesystem::path& file) {
  const auto bytes = config::read_file(file, SignedRoster::kMaxDocumentSize * 2, config::Exposure::kPublic);
  if (!bytes) return tl::unexpected(bytes.error());
  return SignedRoster::parse(as_bytes(*bytes));
}

natt::uv::RosterJob job_of(std::function<Result<SignedRoster>()> read, const std::string& site,
                           const std::filesystem::path& state_dir) {
  return {.read = std::move(read), .persist = [file = state_dir / ("roster-" + site)](const SignedRoster& documents) {
            return write_roster(documents, file);
          }};
}

}  // namespace

natt::uv::RosterJob roster_job(const config::SiteConfig& site, const std::filesystem::path& state_dir) {
  return job_of([file = site.roster_file] { return read_roster(file); }, site.name, state_dir);
}

natt::uv::RosterJob embedded_roster_job(const config::SiteConfig& site, const std::filesystem::path& state_dir) {
  return job_of([bytes = site.roster] { return SignedRoster::parse(bytes); }, site.name, state_dir);
}

RosterWatch::RosterWatch(uv_loop_s& loop, const config::SiteConfig& site, LogSink log, Changed changed)
    : file_(site.roster_file), log_(log), changed_(std::move(changed)) {
  if (!file_.empty()) watch_ = std::make_unique<control::FileWatch>(loop, file_, [this] { reload(); });
}

void RosterWatch::reload() {
  std::error_code failed;
  if (file_.empty() || !std::filesystem::exists(file_, failed)) return;
  const auto bytes = config::read_file(file_, SignedRoster::kMaxDocumentSize * 2, config::Exposure::kPublic);
  if (!bytes) return refuse("natt.roster.unreadable", bytes.error());
  const auto documents = SignedRoster::parse(as_bytes(*bytes));
  if (!documents) return refuse("natt.roster.refused", documents.error());
  unreadable_.reset();
  changed_(*documents);
}

void RosterWatch::refuse(const char* event, const Error& error) {
  unreadable_ = RosterRejection{file_.string() + ": " + error.message};
  log_(LogLevel::kWarning, std::string(event) + " reason=\"" + error.message + "\"");
}

}  // namespace natt::program
