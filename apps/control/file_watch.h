// SPDX-License-Identifier: Apache-2.0
#pragma once

// Tells when a file appeared or was replaced (a roster that nattctl wrote). Looks at
// the file's status twice a second: works for files that do not exist yet, for atomic
// renames and on every file system, which change notification does not.
//
// Resource type, on the loop's thread. No callback after the destructor returned.

#include <filesystem>
#include <functional>

struct uv_loop_s;

namespace natt::control {

class FileWatch {
 public:
  // `changed` runs from the loop, may destroy this object, and is not called for the
  // state found at construction.
  FileWatch(uv_loop_s& loop, const std::filesystem::path& file, std::function<void()> changed);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

 private:
  struct Impl;
  Impl* impl_;  // frees itself when libuv has closed its handle
};

}  // namespace natt::control
