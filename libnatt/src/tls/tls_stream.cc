// SPDX-License-Identifier: Apache-2.0
#include <natt/tls_stream.h>

#include <algorithm>
#include <array>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <natt/errc.h>

#include "src/tls/peer_verification.h"

namespace natt {
namespace {

// 64 KiB of records and one more.
constexpr std::size_t kFlight = 80 * 1024;

// What TLS reads from and writes to: the bytes of the call at hand, where they are, and those
// that wait to be sent. BoringSSL's memory BIO would copy both, and move the rest with every record.
struct Wire {
  ByteView incoming;
  ByteBuffer outgoing;
  std::size_t sent = 0;  // of `outgoing`

  [[nodiscard]] ByteView pending() const { return ByteView{outgoing}.subspan(sent); }
  void append(ByteView bytes);
  void consume(std::size_t count);
};

void Wire::append(ByteView bytes) {
  if (sent > 0 && sent >= outgoing.size() / 2) {  // moves at most as much as was sent since the last time
    outgoing.erase(outgoing.begin(), outgoing.begin() + static_cast<std::ptrdiff_t>(sent));
    sent = 0;
  }
  // Who sends a second record in one go usually sends more: one step to what a flight holds, then doubling.
  const std::size_t size = outgoing.size() + bytes.size();
  if (!outgoing.empty() && size > outgoing.capacity()) outgoing.reserve(std::max({size, outgoing.size() * 2, kFlight}));
  outgoing.insert(outgoing.end(), bytes.begin(), bytes.end());
}

void Wire::consume(std::size_t count) {
  sent += std::min(count, pending().size());
  if (sent < outgoing.size()) return;
  outgoing.clear();
  sent = 0;
}

Wire& wire_of(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

int read_wire(BIO* bio, char* out, int size) noexcept {
  BIO_clear_retry_flags(bio);
  Wire& wire = wire_of(bio);
  const std::size_t count = std::min(wire.incoming.size(), static_cast<std::size_t>(std::max(size, 0)));
  if (count == 0) {
    BIO_set_retry_read(bio);  // "more later", not the end of the stream
    return -1;
  }
  std::copy_n(wire.incoming.begin(), count, reinterpret_cast<std::uint8_t*>(out));
  wire.incoming = wire.incoming.subspan(count);
  return static_cast<int>(count);
}

int write_wire(BIO* bio, const char* bytes, int size) noexcept {
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  wire_of(bio).append(as_bytes({bytes, static_cast<std::size_t>(size)}));
  return size;
}

long control_wire(BIO*, int command, long, void*) noexcept { return command == BIO_CTRL_FLUSH ? 1 : 0; }

int create_wire(BIO* bio) noexcept {
  BIO_set_init(bio, 1);
  return 1;
}

constexpr BIO_METHOD kWireMethod{BIO_TYPE_SOURCE_SINK, "natt wire", write_wire,  read_wire, nullptr,
                                 nullptr,              control_wire, create_wire, nullptr,   nullptr};

}  // namespace

struct TlsStream::Impl {
  Wire wire;  // outlives `ssl`
  bssl::UniquePtr<SSL> ssl;
  ByteBuffer plaintext;
  State state = State::kHandshaking;
  std::optional<PeerCertificate> peer;
  Error error;

  static Result<std::unique_ptr<Impl>> make(const TlsContext& context, const PeerExpectation& expectation,
                                            WallTime wall_now);
  void transition_to(State next) { state = next; }
  void fail_with(Error reason);
  void advance_handshake();
  [[nodiscard]] ByteView read(ByteView& ciphertext, MutableBytes buffer);
  void handle_read_end(int result);
};

Result<std::unique_ptr<TlsStream::Impl>> TlsStream::Impl::make(const TlsContext& context,
                                                               const PeerExpectation& expectation, WallTime wall_now) {
  auto impl = std::make_unique<Impl>();
  impl->ssl.reset(SSL_new(context.native()));
  bssl::UniquePtr<BIO> bio(BIO_new(&kWireMethod));
  if (!impl->ssl || !bio) return fail(Errc::kCrypto, "the TLS library could not make a connection");
  BIO_set_data(bio.get(), &impl->wire);
  BIO* const both = bio.release();
  SSL_set_bio(impl->ssl.get(), both, both);  // takes one reference for the two
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

// Of `ciphertext`, only what TLS asked for is taken; a record that is not complete is kept by the library.
ByteView TlsStream::Impl::read(ByteView& ciphertext, MutableBytes buffer) {
  if (state == State::kClosed || state == State::kFailed) return {};
  wire.incoming = ciphertext;
  if (state == State::kHandshaking) advance_handshake();
  ByteView plain;
  if (state == State::kOpen) {
    ERR_clear_error();
    const int size = SSL_read(ssl.get(), buffer.data(), static_cast<int>(buffer.size()));
    if (size > 0) plain = ByteView{buffer}.first(static_cast<std::size_t>(size));
    if (size <= 0) handle_read_end(size);
  }
  ciphertext = std::exchange(wire.incoming, {});
  return plain;
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
  std::array<std::uint8_t, kMaxPlaintext> chunk;
  for (ByteView plain = read(ciphertext, chunk); !plain.empty(); plain = read(ciphertext, chunk)) {
    impl_->plaintext.insert(impl_->plaintext.end(), plain.begin(), plain.end());
  }
}

ByteView TlsStream::read(ByteView& ciphertext, MutableBytes buffer) { return impl_->read(ciphertext, buffer); }

void TlsStream::write(ByteView plaintext) {
  if (impl_->state != State::kOpen || plaintext.empty()) return;
  ERR_clear_error();
  // The wire takes everything, so a short write is a failure.
  const int size = SSL_write(impl_->ssl.get(), plaintext.data(), static_cast<int>(plaintext.size()));
  if (size != static_cast<int>(plaintext.size())) impl_->fail_with(handshake_error(impl_->ssl.get()));
}

void TlsStream::close() {
  if (impl_->state == State::kOpen || impl_->state == State::kClosed) SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

ByteBuffer TlsStream::take_ciphertext() {
  const ByteView pending = impl_->wire.pending();
  ByteBuffer taken(pending.begin(), pending.end());
  impl_->wire.consume(taken.size());
  return taken;
}

ByteView TlsStream::ciphertext() const { return impl_->wire.pending(); }
void TlsStream::consume_ciphertext(std::size_t count) { impl_->wire.consume(count); }

void TlsStream::release_memory() {
  if (impl_->wire.outgoing.empty()) impl_->wire.outgoing = {};
}

std::size_t TlsStream::pending_ciphertext() const { return impl_->wire.pending().size(); }

std::string_view TlsStream::protocol() const {
  const std::uint8_t* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(impl_->ssl.get(), &name, &size);
  return as_text({name, size});
}

ByteBuffer TlsStream::take_plaintext() { return std::exchange(impl_->plaintext, {}); }
TlsStream::State TlsStream::state() const { return impl_->state; }
const std::optional<PeerCertificate>& TlsStream::peer() const { return impl_->peer; }
const Error& TlsStream::error() const { return impl_->error; }

}  // namespace natt
