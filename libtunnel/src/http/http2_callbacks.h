// SPDX-License-Identifier: Apache-2.0
#pragma once

// The C functions that nghttp2 calls: they find session and stream and hand over. None of
// them throws or calls for more input or output.

#include <memory>

#include <nghttp2/nghttp2.h>

#include "src/http/http2_session.h"

namespace natt::tunnel {

struct Http2Callbacks {
  struct Delete {
    void operator()(nghttp2_session_callbacks* callbacks) const { nghttp2_session_callbacks_del(callbacks); }
  };
  using Table = std::unique_ptr<nghttp2_session_callbacks, Delete>;
  // Null without memory.
  [[nodiscard]] static Table table();
  [[nodiscard]] static nghttp2_data_provider data_provider() { return {{0}, read_data}; }

 private:
  using Id = std::int32_t;
  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* session) noexcept;
  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* session) noexcept;
  static int recv_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                         const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* session) noexcept;
  static int recv_frame(nghttp2_session*, const nghttp2_frame* frame, void* session) noexcept;
  static int recv_invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int, void* session) noexcept;
  static int recv_data(nghttp2_session*, std::uint8_t, Id stream, const std::uint8_t* data, std::size_t size,
                       void* session) noexcept;
  static int close_stream(nghttp2_session*, Id stream, std::uint32_t code, void* session) noexcept;
  static int sent_frame(nghttp2_session*, const nghttp2_frame* frame, void* session) noexcept;
  static int frame_not_sent(nghttp2_session*, const nghttp2_frame* frame, int, void* session) noexcept;
  static ssize_t read_data(nghttp2_session*, Id stream, std::uint8_t*, std::size_t size, std::uint32_t* flags,
                           nghttp2_data_source*, void* session) noexcept;
  static int send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t size,
                       nghttp2_data_source*, void* session) noexcept;
};

}  // namespace natt::tunnel
