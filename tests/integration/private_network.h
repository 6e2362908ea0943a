// SPDX-License-Identifier: Apache-2.0
#pragma once

// A network namespace for one test: entered by the constructor, left by the
// destructor, gone with its devices when the last socket in it is closed.

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace natt::test {

class PrivateNetwork {
 public:
  PrivateNetwork() : home_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
    entered_ = home_ >= 0 && ::unshare(CLONE_NEWNET) == 0;
  }
  ~PrivateNetwork() {
    if (entered_ && ::setns(home_, CLONE_NEWNET) != 0) std::abort();
    if (home_ >= 0) ::close(home_);
  }
  PrivateNetwork(const PrivateNetwork&) = delete;
  PrivateNetwork& operator=(const PrivateNetwork&) = delete;

  // False without the privilege.
  [[nodiscard]] bool entered() const { return entered_; }

 private:
  int home_;
  bool entered_ = false;
};

// True when the shell command succeeded.
[[nodiscard]] inline bool run(const std::string& command) { return std::system(command.c_str()) == 0; }

}  // namespace natt::test
