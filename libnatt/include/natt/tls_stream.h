// SPDX-License-Identifier: Apache-2.0
#pragma once

// TLS 1.3 (RFC 8446) over any ordered byte stream, sans-I/O: ciphertext in, ciphertext
// out, plaintext on the other side. Used by signaling and by tunnels over TCP.
//
// The client's ClientHello record can be taken before anything else happens, because the
// SPA hello that precedes it on the wire is bound to its hash. The server side is made
// after that record was read and verified, and is fed it like any other bytes.
//
// Resource type; the TlsContext has to outlive it. One thread. Pull only.
//
//   auto tls = TlsStream::connect(context, expectation, wall_now);
//   send(tls->take_ciphertext());                     // the ClientHello record
//   on bytes: tls->handle_bytes(bytes); send(tls->take_ciphertext()); use(tls->take_plaintext());

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include <natt/bytes.h>
#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/tls_context.h>

namespace natt {

class TlsStream {
 public:
  //  kHandshaking --> kOpen --> kClosed (peer's close_notify)
  //        '------------+-----> kFailed
  enum class State : std::uint8_t { kHandshaking, kOpen, kClosed, kFailed };
  // Plaintext of one record (RFC 8446 section 5.1).
  static constexpr std::size_t kMaxPlaintext = 16 * 1024;
  // What encryption adds to a record: header, content type and tag (RFC 8446 section 5.2).
  static constexpr std::size_t kRecordOverhead = 5 + 1 + 16;

  // `context` is of the matching direction.
  [[nodiscard]] static Result<std::unique_ptr<TlsStream>> connect(const TlsContext& context,
                                                                  const PeerExpectation& expectation,
                                                                  WallTime wall_now);
  [[nodiscard]] static Result<std::unique_ptr<TlsStream>> accept(const TlsContext& context,
                                                                 const PeerExpectation& expectation, WallTime wall_now);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // Ciphertext from the peer. Decrypted plaintext is kept until taken, so the caller takes it
  // after each call. Ignored in kClosed and kFailed.
  void handle_bytes(ByteView ciphertext);
  // The same without a copy or an allocation: decrypts the next piece of `ciphertext` into `buffer` and moves
  // `ciphertext` past what it took. Call until it returns nothing: all was taken, or the state is kClosed or kFailed.
  // Every kOpen call may return plaintext, also one that completes the handshake. Not to be mixed with handle_bytes().
  [[nodiscard]] ByteView read(ByteView& ciphertext, MutableBytes buffer);
  // Encrypts at once; ignored unless kOpen. The caller bounds pending_ciphertext().
  void write(ByteView plaintext);
  // Queues close_notify; what was written before it is still delivered.
  void close();

  // All bytes to send, possibly empty. Directly after connect(): exactly the ClientHello record.
  [[nodiscard]] ByteBuffer take_ciphertext();
  [[nodiscard]] std::size_t pending_ciphertext() const;
  // The same bytes where they are, contiguous; valid until the next call of any non-const method.
  [[nodiscard]] ByteView ciphertext() const;
  void consume_ciphertext(std::size_t count);
  // Gives back the memory of the send buffer, if nothing waits in it: for connections that have gone quiet.
  void release_memory();
  [[nodiscard]] ByteBuffer take_plaintext();

  [[nodiscard]] State state() const;
  // Once kOpen: the ALPN protocol that both ends agreed on; empty when they did not speak of any.
  [[nodiscard]] std::string_view protocol() const;
  // Once kOpen: who the peer is.
  [[nodiscard]] const std::optional<PeerCertificate>& peer() const;
  // In kFailed: why, as one sentence.
  [[nodiscard]] const Error& error() const;

 private:
  struct Impl;
  explicit TlsStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
