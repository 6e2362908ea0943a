// SPDX-License-Identifier: Apache-2.0
#pragma once

// The C functions that nghttp3 calls: they find session and stream and hand over. None of
// them throws, and none changes nghttp3's state of the stream it is working on.

#include <nghttp3/nghttp3.h>

#include "src/http/http3_session.h"

namespace natt::tunnel {

struct Http3Callbacks {
  [[nodiscard]] static nghttp3_callbacks table();
  [[nodiscard]] static nghttp3_data_reader data_reader() { return {read_data}; }

 private:
  using Id = std::int64_t;
  static int begin_headers(nghttp3_conn*, Id stream, void* session, void*) noexcept;
  static int recv_header(nghttp3_conn*, Id, std::int32_t token, nghttp3_rcbuf* name, nghttp3_rcbuf* value,
                         std::uint8_t, void*, void* stream) noexcept;
  static int end_headers(nghttp3_conn*, Id, int, void* session, void* stream) noexcept;
  static int recv_data(nghttp3_conn*, Id, const std::uint8_t* data, std::size_t size, void* session,
                       void* stream) noexcept;
  static int deferred_consume(nghttp3_conn*, Id stream, std::size_t consumed, void* session, void*) noexcept;
  static int end_stream(nghttp3_conn*, Id, void* session, void* stream) noexcept;
  static int acked_stream_data(nghttp3_conn*, Id, std::uint64_t count, void* session, void* stream) noexcept;
  static int stop_sending(nghttp3_conn*, Id stream, std::uint64_t code, void* session, void*) noexcept;
  static int reset_stream(nghttp3_conn*, Id stream, std::uint64_t code, void* session, void* context) noexcept;
  static int recv_settings(nghttp3_conn*, const nghttp3_settings* settings, void* session) noexcept;
  static nghttp3_ssize read_data(nghttp3_conn*, Id, nghttp3_vec* parts, std::size_t capacity, std::uint32_t* flags,
                                 void* session, void* stream) noexcept;
};

}  // namespace natt::tunnel
