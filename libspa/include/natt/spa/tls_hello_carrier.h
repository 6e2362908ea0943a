// SPDX-License-Identifier: Apache-2.0
#pragma once

// A frame at the start of a TCP connection (docs/WIRE.md section 1.5): record 1 is
// shaped as a TLS ClientHello and carries the frame; record 2 is the TLS library's
// real ClientHello, or for a relay join a record shaped as application data with the
// pairing token. The hash of record 2 is the frame's channel binding, so a frame
// lifted off the wire opens no other connection. The verifier writes nothing before
// it has granted.
//
//   TlsHelloReader reader(now);
//   while (!in.empty()) {
//     in = in.subspan(reader.handle_bytes(now, in));
//     if (reader.state() == TlsHelloReader::State::kFrame && !verifier.plausible(Transport::kTcp, reader.frame())) ...
//     if (reader.state() == TlsHelloReader::State::kComplete) ... verify, then feed record2() and `in` to TLS
//   }

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include <natt/bytes.h>
#include <natt/random.h>
#include <natt/spa/frame.h>
#include <natt/time.h>

namespace natt::spa {

inline constexpr std::size_t kPairingTokenSize = 16;
using PairingToken = std::array<std::uint8_t, kPairingTokenSize>;

// Record 1. `random` fills the key share of the shape.
[[nodiscard]] ByteBuffer make_tls_hello_record(FrameView frame, Random& random);
// Record 2 of a relay join.
[[nodiscard]] ByteBuffer make_pairing_record(const PairingToken& token);
// The token of a record 2 that is exactly that.
[[nodiscard]] std::optional<PairingToken> parse_pairing_record(ByteView record);

// Reads the two records as they dribble in. Resource class of one connection.
class TlsHelloReader {
 public:
  // kRecord1 -> kFrame -> kRecord2 -> kComplete; kFailed from any but kComplete (shape, size or deadline). Both
  // ends absorb further bytes unread. In kFailed say nothing to the peer.
  enum class State : std::uint8_t { kRecord1, kFrame, kRecord2, kComplete, kFailed };

  // Record 2 with its header; a hybrid ClientHello has about 1.8 KiB.
  static constexpr std::size_t kMaxRecord2 = 4096;
  // From the construction to the end of record 2: three seconds lets two retransmissions of a lost segment
  // through (RFC 6298: 1 s, then 2 s) and is what a silent stranger can hold a descriptor for.
  static constexpr Duration kReadTimeout = std::chrono::seconds(3);

  explicit TlsHelloReader(Instant now) : deadline_(now + kReadTimeout) {}
  TlsHelloReader(const TlsHelloReader&) = delete;
  TlsHelloReader& operator=(const TlsHelloReader&) = delete;

  // Returns how many octets were taken: at most up to the end of the record being read, so that the caller can
  // check the frame between the records and give what follows record 2 to TLS. 0 when complete or failed, or
  // when `bytes` is empty.
  [[nodiscard]] std::size_t handle_bytes(Instant now, ByteView bytes);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  [[nodiscard]] State state() const { return state_; }
  // Meaningful from kFrame on. Lives as long as the reader.
  [[nodiscard]] FrameView frame() const { return frame_; }
  // Meaningful in kComplete, header included. Lives as long as the reader.
  [[nodiscard]] ByteView record2() const { return record2_; }
  [[nodiscard]] ChannelBinding binding() const { return ChannelBinding::of_record(record2_); }

 private:
  [[nodiscard]] std::size_t read_record1(ByteView bytes);
  [[nodiscard]] std::size_t read_record2(ByteView bytes);
  [[nodiscard]] bool take_record1_octet(std::size_t at, std::uint8_t octet);
  [[nodiscard]] bool accept_record2_header();
  void transition_to(State state) { state_ = state; }

  State state_ = State::kRecord1;
  Instant deadline_;
  std::size_t record1_read_ = 0;
  std::size_t record1_size_ = 0;
  Frame frame_{};
  std::array<std::uint8_t, 5> header2_{};
  std::size_t header2_read_ = 0;
  std::size_t record2_size_ = 0;
  ByteBuffer record2_;  // allocated when its length is known, hence never for a frame the caller refused
};

}  // namespace natt::spa
