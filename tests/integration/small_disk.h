// SPDX-License-Identifier: Apache-2.0
#pragma once

// A disk that a test can fill: a tmpfs of 16 MB in a mount namespace of this program, with or
// without root's rights. A program that uses it holds no test that minds the namespace.

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace natt::test {

class SmallDisk {
 public:
  SmallDisk() {
    std::string folder = (std::filesystem::temp_directory_path() / "natt-room-XXXXXX").string();
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    const auto uid = std::to_string(::getuid());
    const auto gid = std::to_string(::getgid());
    if (::unshare(CLONE_NEWNS) != 0) {
      REQUIRE(::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
      std::ofstream("/proc/self/setgroups") << "deny";
      std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
      std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
    }
    REQUIRE(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    REQUIRE(::mount("none", folder.c_str(), "tmpfs", 0, "size=16m,mode=0700") == 0);
    path_ = folder;
  }
  ~SmallDisk() {
    if (path_.empty() || ::umount2(path_.c_str(), MNT_DETACH) != 0) return;
    ::rmdir(path_.c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The first call has to come before any other thread is there: it would stay in the old namespace.
inline const std::filesystem::path& small_disk() {
  static const SmallDisk disk;
  return disk.path();
}

inline void clear_disk() {
  for (const auto& entry : std::filesystem::directory_iterator(small_disk())) std::filesystem::remove_all(entry);
}

// As far as it goes.
inline void fill_disk(int megabytes) {
  std::ofstream out(small_disk() / "filler", std::ios::binary);
  const std::string piece(1 << 20, 'x');
  for (int i = 0; i < megabytes; ++i) out << piece << std::flush;
}

inline void empty_disk() { std::filesystem::remove(small_disk() / "filler"); }

}  // namespace natt::test
