// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a broker or gateway has retired, over restarts: `<state dir>/retired-<site>`, one
// line per key (natt/retired_keys.h). Appended to and synced in the background; a crash
// loses at most the last second, and those keys work until their successors are used again.
// Resource type on the loop.

#include <filesystem>
#include <string>
#include <vector>

#include <natt/log.h>
#include <natt/retired_keys.h>

struct uv_loop_s;

namespace natt::program {

class RetiredKeyFiles final : public RetiredKeyListener {
 public:
  RetiredKeyFiles(uv_loop_s& loop, std::filesystem::path state_dir, LogSink log);

  // At start. A damaged file is put aside as `retired-<site>.damaged`; see damaged().
  [[nodiscard]] RetiredKeys load(const std::string& site);
  // Rewrites the file when it holds lines that no longer matter.
  void compact(const std::string& site, const RetiredKeys& kept);
  void on_keys_retired(const std::string& site, const std::string& lines) override;
  // Sites whose file could not be read: keys that had been retired are taken again.
  [[nodiscard]] const std::vector<std::string>& damaged() const { return damaged_; }

 private:
  [[nodiscard]] std::filesystem::path file_of(const std::string& site) const { return dir_ / ("retired-" + site); }

  uv_loop_s& loop_;
  std::filesystem::path dir_;
  LogSink log_;
  std::vector<std::string> damaged_;
};

}  // namespace natt::program
