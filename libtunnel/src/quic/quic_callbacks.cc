// SPDX-License-Identifier: Apache-2.0
#include "src/quic/quic_callbacks.h"

namespace natt::tunnel {
namespace {

Connection& connection(void* self) { return *static_cast<Connection*>(self); }

}  // namespace

ngtcp2_callbacks QuicCallbacks::table(Side side) {
  ngtcp2_callbacks callbacks{};
  if (side == Side::kClient) {
    callbacks.client_initial = ngtcp2_crypto_client_initial_cb;
    callbacks.recv_retry = ngtcp2_crypto_recv_retry_cb;  // required; Retry never gets here
  } else {
    callbacks.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
  }
  callbacks.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
  callbacks.encrypt = ngtcp2_crypto_encrypt_cb;
  callbacks.decrypt = ngtcp2_crypto_decrypt_cb;
  callbacks.hp_mask = ngtcp2_crypto_hp_mask_cb;
  callbacks.update_key = ngtcp2_crypto_update_key_cb;
  callbacks.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
  callbacks.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
  callbacks.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  callbacks.rand = rand;
  callbacks.get_path_challenge_data = get_path_challenge_data;
  callbacks.get_new_connection_id = get_new_connection_id;
  callbacks.remove_connection_id = remove_connection_id;
  callbacks.handshake_completed = handshake_completed;
  callbacks.handshake_confirmed = handshake_confirmed;
  callbacks.path_validation = path_validation;
  callbacks.recv_stream_data = recv_stream_data;
  callbacks.acked_stream_data_offset = acked_stream_data;
  callbacks.stream_close = stream_close;
  callbacks.stream_reset = stream_reset;
  callbacks.stream_stop_sending = stream_stop_sending;
  callbacks.extend_max_stream_data = extend_max_stream_data;
  callbacks.recv_datagram = recv_datagram;
  return callbacks;
}

ngtcp2_conn* QuicCallbacks::connection_of(ngtcp2_crypto_conn_ref* reference) noexcept {
  return connection(reference->user_data).quic_;
}

int QuicCallbacks::settle(Connection& self, const Http3Session::Failure& failure) noexcept {
  if (!failure) return 0;
  self.http_failure_ = failure;
  return NGTCP2_ERR_CALLBACK_FAILURE;
}

int QuicCallbacks::handshake_completed(ngtcp2_conn*, void* self) noexcept {
  return connection(self).handle_handshake_completed();
}

int QuicCallbacks::handshake_confirmed(ngtcp2_conn*, void* self) noexcept {
  connection(self).handle_handshake_confirmed();
  return 0;
}

int QuicCallbacks::recv_stream_data(ngtcp2_conn*, std::uint32_t flags, Id stream, std::uint64_t,
                                    const std::uint8_t* data, std::size_t size, void* self, void*) noexcept {
  const bool fin = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
  return settle(connection(self), connection(self).http_.handle_stream_data(stream, {data, size}, fin));
}

int QuicCallbacks::acked_stream_data(ngtcp2_conn*, Id stream, std::uint64_t, std::uint64_t count, void* self,
                                     void*) noexcept {
  return settle(connection(self), connection(self).http_.handle_acknowledged(stream, count));
}

int QuicCallbacks::stream_close(ngtcp2_conn*, std::uint32_t flags, Id stream, std::uint64_t code, void* self,
                                void*) noexcept {
  const bool set = (flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) != 0;
  return settle(connection(self), connection(self).http_.handle_closed(stream, set ? code : NGHTTP3_H3_NO_ERROR));
}

int QuicCallbacks::stream_reset(ngtcp2_conn*, Id stream, std::uint64_t, std::uint64_t code, void* self,
                                void*) noexcept {
  if (connection(self).http_.handle_reset(stream, code)) ++connection(self).early_resets_;
  return 0;
}

int QuicCallbacks::stream_stop_sending(ngtcp2_conn*, Id stream, std::uint64_t, void* self, void*) noexcept {
  connection(self).http_.handle_stop_sending_done(stream);
  return 0;
}

int QuicCallbacks::extend_max_stream_data(ngtcp2_conn*, Id stream, std::uint64_t, void* self, void*) noexcept {
  connection(self).http_.handle_window(stream);
  return 0;
}

int QuicCallbacks::recv_datagram(ngtcp2_conn*, std::uint32_t, const std::uint8_t* data, std::size_t size,
                                 void* self) noexcept {
  connection(self).http_.handle_datagram({data, size});
  return 0;
}

int QuicCallbacks::get_new_connection_id(ngtcp2_conn*, ngtcp2_cid* id, std::uint8_t* token, std::size_t size,
                                         void* self) noexcept {
  id->datalen = size;
  connection(self).environment_.ids.issue({id->data, size});
  // This end never sends a Stateless Reset; the token has to exist and to be unguessable.
  connection(self).environment_.random.fill({token, NGTCP2_STATELESS_RESET_TOKENLEN});
  return 0;
}

int QuicCallbacks::remove_connection_id(ngtcp2_conn*, const ngtcp2_cid* id, void* self) noexcept {
  connection(self).environment_.ids.retire({id->data, id->datalen});
  return 0;
}

int QuicCallbacks::path_validation(ngtcp2_conn*, std::uint32_t, const ngtcp2_path* path, const ngtcp2_path*,
                                   ngtcp2_path_validation_result result, void* self) noexcept {
  Connection& owner = connection(self);
  if (result == NGTCP2_PATH_VALIDATION_RESULT_ABORTED) return 0;  // a later migration took over
  owner.handle_path_validation(VirtualPath::id_of(owner.side_, *path), result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS);
  return 0;
}

int QuicCallbacks::get_path_challenge_data(ngtcp2_conn*, std::uint8_t* data, void* self) noexcept {
  connection(self).environment_.random.fill({data, NGTCP2_PATH_CHALLENGE_DATALEN});
  return 0;
}

void QuicCallbacks::rand(std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* context) noexcept {
  static_cast<Random*>(context->native_handle)->fill({out, size});
}

}  // namespace natt::tunnel
