// SPDX-License-Identifier: Apache-2.0
#include "apps/program/descriptor_limit.h"

#include <sys/resource.h>

namespace natt::program {

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  // Never above fs.nr_open, so this fails only where a sandbox forbids it: then the old limit stays.
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

}  // namespace natt::program
