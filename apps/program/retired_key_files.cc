// SPDX-License-Identifier: Apache-2.0
#include "apps/program/retired_key_files.h"

#include <utility>

#include <natt/uv/background_task.h>

#include "apps/config/state_dir.h"

namespace natt::program {
namespace {

// 800,000 lines of up to 220 octets.
constexpr std::size_t kMaxFileSize = 256u << 20;

}  // namespace

RetiredKeyFiles::RetiredKeyFiles(uv_loop_s& loop, std::filesystem::path state_dir, LogSink log)
    : loop_(loop), dir_(std::move(state_dir)), log_(log) {}

RetiredKeys RetiredKeyFiles::load(const std::string& site) {
  const std::filesystem::path file = file_of(site);
  std::error_code failed;
  if (!std::filesystem::exists(file, failed)) return {};
  const auto text = config::read_file(file, kMaxFileSize, config::Exposure::kPublic);
  auto keys = text ? RetiredKeys::parse(*text) : Result<RetiredKeys>(tl::unexpected(text.error()));
  if (keys) return std::move(*keys);
  log_(LogLevel::kError,
       "natt.spa.retired_unreadable file=" + file.string() + " reason=\"" + keys.error().message + "\"");
  std::filesystem::path aside = file;
  aside += ".damaged";
  std::filesystem::rename(file, aside, failed);
  damaged_.push_back(site);
  return {};
}

void RetiredKeyFiles::compact(const std::string& site, const RetiredKeys& kept) {
  const std::filesystem::path file = file_of(site);
  const std::string text = kept.serialize();
  std::error_code failed;
  const auto size = std::filesystem::file_size(file, failed);
  if (failed || size == text.size()) return;
  if (auto written = config::write_file_atomically(file, as_bytes(text)); !written) {
    log_(LogLevel::kError, "natt.spa.retired_not_persisted reason=\"" + written.error().message + "\"");
  }
}

void RetiredKeyFiles::on_keys_retired(const std::string& site, const std::string& lines) {
  natt::uv::run_in_background(loop_, [file = file_of(site), lines] {
    // A failure costs nothing now: the key is retired in memory, and after a restart its successor is used again.
    static_cast<void>(config::append_to_file(file, as_bytes(lines)));
  });
}

}  // namespace natt::program
