// SPDX-License-Identifier: Apache-2.0
#pragma once

// Reads a program's configuration file again, in the background: because the file changed
// (keys and rosters are taken over at once) or because of SIGHUP (the settings as well).
// Which of the two a reading was for is fixed when it begins, and ends with it: a signal
// counts for what is in the file after it, whatever else is being read, and a refused file
// leaves nothing behind.
//
// Resource type on the loop. `Contents` is what a reading finds; default constructible.

#include <functional>
#include <optional>
#include <utility>

#include <natt/uv/background_task.h>

namespace natt::program {

enum class ReloadScope { kKeys, kKeysAndSettings };

// For the log.
[[nodiscard]] constexpr const char* to_string(ReloadScope scope) {
  return scope == ReloadScope::kKeys ? "keys" : "keys+settings";
}

template <typename Contents>
class ConfigReload {
 public:
  // Runs in another thread, with what it holds by value.
  using Read = std::function<Contents()>;
  // Runs on the loop; may start() again and may not destroy this object.
  using Apply = std::function<void(Contents contents, ReloadScope scope)>;

  ConfigReload(uv_loop_s& loop, Read read, Apply apply)
      : read_(std::move(read)), apply_(std::move(apply)), task_(loop) {}
  ConfigReload(const ConfigReload&) = delete;
  ConfigReload& operator=(const ConfigReload&) = delete;

  // Reads what is in the file from now on. While one is being read, the next one waits, for everything that was wanted
  // meanwhile.
  void start(ReloadScope scope) {
    if (!task_.busy()) return begin(scope);
    if (!waiting_ || scope == ReloadScope::kKeysAndSettings) waiting_ = scope;
  }

 private:
  void begin(ReloadScope scope) {
    task_.start([this] { contents_ = read_(); }, [this, scope] { finish(scope); });
  }
  void finish(ReloadScope scope) {
    apply_(std::exchange(contents_, {}), scope);
    if (waiting_ && !task_.busy()) begin(*std::exchange(waiting_, std::nullopt));
  }

  Read read_;
  Apply apply_;
  Contents contents_;  // written by the thread that reads, taken when it has finished
  std::optional<ReloadScope> waiting_;
  natt::uv::BackgroundTask task_;  // last: its destructor waits for the thread
};

}  // namespace natt::program
