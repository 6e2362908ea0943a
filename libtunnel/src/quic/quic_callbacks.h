// SPDX-License-Identifier: Apache-2.0
#pragma once

// The C functions that ngtcp2 calls. They append to the connection's state and never call
// back into ngtcp2 in a way that its documentation forbids. None of them throws.

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "src/quic/connection.h"

namespace natt::tunnel {

struct QuicCallbacks {
  [[nodiscard]] static ngtcp2_callbacks table(Side side);
  static ngtcp2_conn* connection_of(ngtcp2_crypto_conn_ref* reference) noexcept;

 private:
  using Id = std::int64_t;
  static int settle(Connection& self, const Http3Session::Failure& failure) noexcept;
  static int handshake_completed(ngtcp2_conn*, void* self) noexcept;
  static int handshake_confirmed(ngtcp2_conn*, void* self) noexcept;
  static int recv_stream_data(ngtcp2_conn*, std::uint32_t flags, Id stream, std::uint64_t, const std::uint8_t* data,
                              std::size_t size, void* self, void*) noexcept;
  static int acked_stream_data(ngtcp2_conn*, Id stream, std::uint64_t, std::uint64_t count, void* self, void*) noexcept;
  static int stream_close(ngtcp2_conn*, std::uint32_t flags, Id stream, std::uint64_t code, void* self, void*) noexcept;
  static int stream_reset(ngtcp2_conn*, Id stream, std::uint64_t, std::uint64_t code, void* self, void*) noexcept;
  static int stream_stop_sending(ngtcp2_conn*, Id stream, std::uint64_t, void* self, void*) noexcept;
  static int extend_max_stream_data(ngtcp2_conn*, Id stream, std::uint64_t, void* self, void*) noexcept;
  static int recv_datagram(ngtcp2_conn*, std::uint32_t, const std::uint8_t* data, std::size_t size, void* self) noexcept;
  static int get_new_connection_id(ngtcp2_conn*, ngtcp2_cid* id, std::uint8_t* token, std::size_t size,
                                   void* self) noexcept;
  static int remove_connection_id(ngtcp2_conn*, const ngtcp2_cid* id, void* self) noexcept;
  static int path_validation(ngtcp2_conn*, std::uint32_t, const ngtcp2_path* path, const ngtcp2_path*,
                             ngtcp2_path_validation_result result, void* self) noexcept;
  static int get_path_challenge_data(ngtcp2_conn*, std::uint8_t* data, void* self) noexcept;
  static void rand(std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* context) noexcept;
};

}  // namespace natt::tunnel
