// SPDX-License-Identifier: Apache-2.0
#include <natt/tls_stream.h>

#include <array>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <natt/errc.h>

#include "src/tls/peer_verification.h"

namespace natt {
namespace {

// One TLS record's plaintext (RFC 8446 section 5.1).
constexpr std::size_t kReadSize = 16 * 1024;

ByteBuffer drain(BIO* bio) {
  ByteBuffer out(BIO_pending(bio));
  if (!out.empty()) BIO_read(bio, out.data(), static_cast<int>(out.size()));
  return out;
}

}  // namespace

struct TlsStream::Impl {
  bssl::UniquePtr<SSL> ssl;
  BIO* incoming = nullptr;  // owned by `ssl`
  BIO* outgoing = nullptr;  // owned by `ssl`
  ByteBuffer plaintext;
  State state = State::kHandshaking;
  std::optional<PeerCertificate> peer;
  Error error;

  static Result<std::unique_ptr<Impl>> make(const TlsContext& context, const PeerExpectation& expectation,
                                            WallTime wall_now);
  void transition_to(State next) { state = next; }
  void fail_with(Error reason);
  void advance_handshake();
  void read_records();
  void handle_read_end(int result);
};

Result<std::unique_ptr<TlsStream::Impl>> TlsStream::Impl::make(const TlsContext& context,
                                                               const PeerExpectation& expectation, WallTime wall_now) {
  auto impl = std::make_unique<Impl>();
  impl->ssl.reset(SSL_new(context.native()));
  bssl::UniquePtr<BIO> incoming(BIO_new(BIO_s_mem()));
  bssl::UniquePtr<BIO> outgoing(BIO_new(BIO_s_mem()));
  if (!impl->ssl || !incoming || !outgoing) return fail(Errc::kCrypto, "the TLS library could not make a connection");
  // An empty buffer means "more later", not the end of the stream.
  BIO_set_mem_eof_return(incoming.get(), -1);
  impl->incoming = incoming.get();
  impl->outgoing = outgoing.get();
  SSL_set_bio(impl->ssl.get(), incoming.release(), outgoing.release());
  expect_peer(impl->ssl.get(), expectation, wall_now);
  return impl;
}

void TlsStream::Impl::fail_with(Error reason) {
  error = std::move(reason);
  transition_to(State::kFailed);
}

void TlsStream::Impl::advance_handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl.get());
  if (result == 1) {
    peer = *verified_peer(ssl.get());
    transition_to(State::kOpen);
  } else if (SSL_get_error(ssl.get(), result) != SSL_ERROR_WANT_READ) {
    fail_with(handshake_error(ssl.get()));
  }
}

void TlsStream::Impl::handle_read_end(int result) {
  switch (SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_WANT_READ: return;
    case SSL_ERROR_ZERO_RETURN: return transition_to(State::kClosed);
    // Also how a server's refusal of our certificate arrives: after our own handshake was done.
    default: return fail_with(handshake_error(ssl.get()));
  }
}

void TlsStream::Impl::read_records() {
  std::array<std::uint8_t, kReadSize> chunk;
  while (state == State::kOpen) {
    ERR_clear_error();
    const int size = SSL_read(ssl.get(), chunk.data(), static_cast<int>(chunk.size()));
    if (size <= 0) return handle_read_end(size);
    plaintext.insert(plaintext.end(), chunk.begin(), chunk.begin() + size);
  }
}

TlsStream::TlsStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsStream::~TlsStream() = default;

Result<std::unique_ptr<TlsStream>> TlsStream::connect(const TlsContext& context, const PeerExpectation& expectation,
                                                      WallTime wall_now) {
  auto impl = Impl::make(context, expectation, wall_now);
  if (!impl) return tl::unexpected<Error>(impl.error());
  SSL_set_connect_state((*impl)->ssl.get());
  (*impl)->advance_handshake();
  if ((*impl)->state == State::kFailed) return tl::unexpected<Error>((*impl)->error);
  return std::unique_ptr<TlsStream>(new TlsStream(std::move(*impl)));
}

Result<std::unique_ptr<TlsStream>> TlsStream::accept(const TlsContext& context, const PeerExpectation& expectation,
                                                     WallTime wall_now) {
  auto impl = Impl::make(context, expectation, wall_now);
  if (!impl) return tl::unexpected<Error>(impl.error());
  SSL_set_accept_state((*impl)->ssl.get());
  return std::unique_ptr<TlsStream>(new TlsStream(std::move(*impl)));
}

void TlsStream::handle_bytes(ByteView ciphertext) {
  if (impl_->state == State::kClosed || impl_->state == State::kFailed) return;
  BIO_write(impl_->incoming, ciphertext.data(), static_cast<int>(ciphertext.size()));
  if (impl_->state == State::kHandshaking) impl_->advance_handshake();
  if (impl_->state == State::kOpen) impl_->read_records();
}

void TlsStream::write(ByteView plaintext) {
  if (impl_->state != State::kOpen || plaintext.empty()) return;
  ERR_clear_error();
  // A memory BIO takes everything, so a short write is a failure.
  const int size = SSL_write(impl_->ssl.get(), plaintext.data(), static_cast<int>(plaintext.size()));
  if (size != static_cast<int>(plaintext.size())) impl_->fail_with(handshake_error(impl_->ssl.get()));
}

void TlsStream::close() {
  if (impl_->state == State::kOpen || impl_->state == State::kClosed) SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

ByteBuffer TlsStream::take_ciphertext() { return drain(impl_->outgoing); }
std::size_t TlsStream::pending_ciphertext() const { return BIO_pending(impl_->outgoing); }
ByteBuffer TlsStream::take_plaintext() { return std::exchange(impl_->plaintext, {}); }
TlsStream::State TlsStream::state() const { return impl_->state; }
const std::optional<PeerCertificate>& TlsStream::peer() const { return impl_->peer; }
const Error& TlsStream::error() const { return impl_->error; }

}  // namespace natt
