// SPDX-License-Identifier: Apache-2.0
#pragma once

// The folder of a site (DIR of `nattctl init DIR`): 0700, every file 0600. Several files
// change together or not at all: they are written into a staging folder, which is
// renamed when it is complete (the commit) and then emptied into DIR. A run that was
// interrupted before the commit left nothing; after it, the next run finishes the work.
//
// Resource type; holds a lock on the folder, so two nattctl never mix.

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <natt/error.h>

namespace natt::ctl {

class SiteFolder {
 public:
  // For `init`: makes the folder when it is missing. Refuses one that holds a site, or
  // that others may read and that is not empty.
  [[nodiscard]] static Result<std::unique_ptr<SiteFolder>> create(const std::filesystem::path& dir);
  // For everything else: the folder has to hold a site.
  [[nodiscard]] static Result<std::unique_ptr<SiteFolder>> open(const std::filesystem::path& dir);
  ~SiteFolder();
  SiteFolder(const SiteFolder&) = delete;
  SiteFolder& operator=(const SiteFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return dir_; }
  [[nodiscard]] bool has(const std::string& name) const;
  [[nodiscard]] Result<std::string> read(const std::string& name) const;
  // Takes effect with commit().
  void stage(std::string name, std::string content);
  [[nodiscard]] Result<void> commit();

 private:
  SiteFolder(std::filesystem::path dir, int lock);
  [[nodiscard]] static Result<std::unique_ptr<SiteFolder>> lock(const std::filesystem::path& dir);
  [[nodiscard]] Result<void> recover();
  [[nodiscard]] Result<void> roll_forward();
  [[nodiscard]] Result<void> make_private();
  void wipe_staged();

  std::filesystem::path dir_;
  int lock_;
  std::map<std::string, std::string> staged_;
};

}  // namespace natt::ctl
