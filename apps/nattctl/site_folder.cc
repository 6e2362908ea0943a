// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/site_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "apps/config/state_dir.h"
#include "apps/config/toml_table.h"

namespace natt::ctl {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStaging = ".nattctl-staging";  // being written; worth nothing
constexpr std::string_view kCommit = ".nattctl-commit";    // complete; belongs into the folder
constexpr std::string_view kSiteMark = "ca.key";           // a folder that has it holds a site
constexpr std::size_t kMaxFileBytes = 256u << 20;

tl::unexpected<Error> refuse(const fs::path& path, std::string_view why) {
  return fail(std::make_error_code(std::errc::file_exists), fmt::format("{}: {}", path.string(), why));
}

tl::unexpected<Error> io_error(const fs::path& path, std::string_view what, std::error_code code) {
  return fail(code, fmt::format("{}: {}: {}", path.string(), what, code.message()));
}

std::error_code last_error() { return {errno, std::generic_category()}; }

}  // namespace

SiteFolder::SiteFolder(fs::path dir, int lock) : dir_(std::move(dir)), lock_(lock) {}

SiteFolder::~SiteFolder() {
  wipe_staged();
  ::close(lock_);
}

// Nearly all of it is keys.
void SiteFolder::wipe_staged() {
  for (auto& [name, content] : staged_) config::wipe_text(content);
  staged_.clear();
}

Result<std::unique_ptr<SiteFolder>> SiteFolder::lock(const fs::path& dir) {
  const int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return io_error(dir, "the site's folder cannot be opened", last_error());
  std::unique_ptr<SiteFolder> folder(new SiteFolder(fs::absolute(dir).lexically_normal(), fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return refuse(dir, "another nattctl is working in this folder; wait for it");
  if (auto recovered = folder->recover(); !recovered) return tl::unexpected(std::move(recovered.error()));
  return folder;
}

Result<std::unique_ptr<SiteFolder>> SiteFolder::create(const fs::path& dir) {
  if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return io_error(dir, "the site's folder cannot be made", last_error());
  }
  auto folder = lock(dir);
  if (!folder) return folder;
  if ((*folder)->has(std::string(kSiteMark))) {
    return refuse(dir, "holds a site already; name a new folder, or add devices with nattctl enroll");
  }
  if (auto made = (*folder)->make_private(); !made) return tl::unexpected(std::move(made.error()));
  return folder;
}

Result<std::unique_ptr<SiteFolder>> SiteFolder::open(const fs::path& dir) {
  auto folder = lock(dir);
  if (folder && !(*folder)->has(std::string(kSiteMark))) {
    return refuse(dir, "holds no site (no ca.key); name the folder that nattctl init wrote");
  }
  return folder;
}

Result<void> SiteFolder::make_private() {
  struct stat info {};
  if (::fstat(lock_, &info) != 0) return io_error(dir_, "cannot be used", last_error());
  if ((info.st_mode & 077) == 0) return {};
  std::error_code failed;
  if (!fs::is_empty(dir_, failed)) return refuse(dir_, "is not empty and others may use it; name a new folder");
  if (::fchmod(lock_, 0700) != 0) return io_error(dir_, "cannot be closed to others", last_error());
  return {};
}

Result<void> SiteFolder::recover() {
  std::error_code failed;
  fs::remove_all(dir_ / kStaging, failed);
  if (failed) return io_error(dir_ / kStaging, "left over from an interrupted run and cannot be removed", failed);
  return fs::exists(dir_ / kCommit, failed) ? roll_forward() : Result<void>{};
}

Result<void> SiteFolder::roll_forward() {
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(dir_ / kCommit, failed)) {
    fs::rename(entry.path(), dir_ / entry.path().filename(), failed);
    if (failed) return io_error(dir_ / entry.path().filename(), "cannot be replaced", failed);
  }
  if (failed) return io_error(dir_ / kCommit, "cannot be read", failed);
  if (auto synced = config::sync_dir(dir_); !synced) return synced;
  fs::remove(dir_ / kCommit, failed);
  if (failed) return io_error(dir_ / kCommit, "cannot be removed", failed);
  return {};
}

bool SiteFolder::has(const std::string& name) const {
  std::error_code failed;
  return fs::exists(fs::symlink_status(dir_ / name, failed));
}

Result<std::string> SiteFolder::read(const std::string& name) const {
  return config::read_file(dir_ / name, kMaxFileBytes, config::Exposure::kSecret);
}

void SiteFolder::stage(std::string name, std::string content) {
  staged_.insert_or_assign(std::move(name), std::move(content));
}

Result<void> SiteFolder::commit() {
  const fs::path staging = dir_ / kStaging;
  if (::mkdir(staging.c_str(), 0700) != 0) return io_error(staging, "cannot be made", last_error());
  for (const auto& [name, content] : staged_) {
    if (auto written = config::write_file_atomically(staging / name, as_bytes(content)); !written) return written;
  }
  std::error_code failed;
  fs::rename(staging, dir_ / kCommit, failed);
  if (failed) return io_error(dir_ / kCommit, "cannot be made", failed);
  if (auto synced = config::sync_dir(dir_); !synced) return synced;
  wipe_staged();
  return roll_forward();
}

}  // namespace natt::ctl
