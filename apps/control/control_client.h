// SPDX-License-Identifier: Apache-2.0
#pragma once

// One connection to the control socket inside its server: reads request lines, runs
// them one after the other, writes each response before it looks at the next request,
// so a client that does not read costs one response and is cut off after a while.
//
// Resource type on the heap: `close` lets go of it, libuv's close callbacks free it.

#include <uv.h>

#include <string>

#include "apps/control/command_table.h"

namespace natt::control {

class ControlClient {
 public:
  class Owner {
   public:
    // The client is closing; the owner forgets it.
    virtual void on_client_closed(ControlClient& client) = 0;

   protected:
    ~Owner() = default;
  };

  // Accepts from `listener`. Never null; closes itself when that fails.
  static ControlClient* accept(uv_stream_t* listener, const CommandTable& commands, Owner& owner);

  // Silent and immediate; on_client_closed is not called. Safe to call twice.
  void close();

 private:
  ControlClient(uv_loop_t& loop, const CommandTable& commands, Owner& owner);
  ~ControlClient() = default;

  void start();
  void finish();  // closes and tells the owner
  void handle_input(std::string_view bytes);
  void run_next_line();
  void write(std::string response);
  void restart_timer();

  static void on_allocate(uv_handle_t* handle, std::size_t suggested, uv_buf_t* buffer) noexcept;
  static void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) noexcept;
  static void on_written(uv_write_t* request, int status) noexcept;
  static void on_timeout(uv_timer_t* timer) noexcept;
  static void on_handle_closed(uv_handle_t* handle) noexcept;

  const CommandTable& commands_;
  Owner* owner_;  // null once closing
  uv_pipe_t pipe_{};
  uv_timer_t timer_{};
  uv_write_t write_{};
  Caller caller_ = Caller::kReader;
  bool writing_ = false;
  int open_handles_ = 2;
  char chunk_[4096] = {};
  std::string input_;
  std::string output_;
};

}  // namespace natt::control
