// SPDX-License-Identifier: Apache-2.0
#include "apps/config/log.h"

#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace natt::config {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::err;
}

bool is_printable(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; }

// A peer's text must not start a line of its own or move the operator's cursor.
std::string escaped(std::string_view line) {
  std::string text;
  text.reserve(line.size());
  for (const char c : line) {
    if (is_printable(c)) {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

}  // namespace

struct Log::Impl {
  explicit Impl(LogLevel level) : logger("natt", std::make_shared<spdlog::sinks::stderr_sink_st>()) {
    logger.set_formatter(
        std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc));
    logger.flush_on(spdlog::level::debug);
    set_level(level);
  }
  void set_level(LogLevel level) {
    minimum = level;
    logger.set_level(to_spdlog(level));
  }
  void write(LogLevel level, std::string_view line) {
    const std::string text = escaped(line);
    logger.log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size()));
  }

  spdlog::logger logger;
  LogLevel minimum = LogLevel::kInfo;
};

Log::Log(LogLevel level) : impl_(std::make_unique<Impl>(level)) {}

Log::~Log() = default;

LogSink Log::sink() {
  return {.write = [](void* context, LogLevel level,
                      std::string_view line) { static_cast<Impl*>(context)->write(level, line); },
          .context = impl_.get(),
          .minimum = impl_->minimum};
}

void Log::set_level(LogLevel level) { impl_->set_level(level); }

void announce_ready() {
  std::fputs("ready\n", stdout);
  std::fflush(stdout);
}

}  // namespace natt::config
