// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/tls_hello_carrier.h>

#include "tls_record.h"

namespace natt::spa {
namespace {

using namespace tls_record;

bool is_record1_header(std::size_t at, std::uint8_t octet) {
  constexpr std::array<std::uint8_t, 3> kStart{kHandshake, kVersion10 >> 8, kVersion10 & 0xff};
  return at >= kStart.size() || octet == kStart[at];
}

// What the octets between header and random have to be, given the length of the record's content.
std::uint8_t expected_hello_octet(std::size_t at, std::size_t content) {
  const std::size_t hello = content - 4;
  const std::array<std::uint8_t, 6> start{0x01,
                                          0x00,
                                          static_cast<std::uint8_t>(hello >> 8),
                                          static_cast<std::uint8_t>(hello & 0xff),
                                          kVersion12 >> 8,
                                          kVersion12 & 0xff};
  return start[at - kHeader];
}

}  // namespace

std::size_t TlsHelloReader::handle_bytes(Instant now, ByteView bytes) {
  handle_timeout(now);
  if (bytes.empty()) return 0;
  switch (state_) {
    case State::kRecord1: return read_record1(bytes);
    case State::kFrame: transition_to(State::kRecord2); return read_record2(bytes);
    case State::kRecord2: return read_record2(bytes);
    case State::kComplete:
    case State::kFailed: return 0;
  }
  return 0;
}

void TlsHelloReader::handle_timeout(Instant now) {
  if (state_ != State::kComplete && now >= deadline_) transition_to(State::kFailed);
}

std::optional<Instant> TlsHelloReader::next_deadline() const {
  if (state_ == State::kComplete || state_ == State::kFailed) return std::nullopt;
  return deadline_;
}

std::size_t TlsHelloReader::read_record1(ByteView bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && state_ == State::kRecord1) {
    if (!take_record1_octet(record1_read_, bytes[taken])) transition_to(State::kFailed);
    ++taken;
    ++record1_read_;
    if (state_ == State::kRecord1 && record1_read_ > kHeader && record1_read_ == kHeader + record1_size_) {
      transition_to(State::kFrame);
    }
  }
  return taken;
}

// False when the octet cannot stand there. What follows the frame is not looked at.
bool TlsHelloReader::take_record1_octet(std::size_t at, std::uint8_t octet) {
  if (at < 3) return is_record1_header(at, octet);
  if (at < kHeader) {
    record1_size_ = (record1_size_ << 8) | octet;
    return at + 1 < kHeader || (record1_size_ >= kMinRecord1Length && record1_size_ <= kMaxRecord1Length);
  }
  if (at < kRandomAt) return octet == expected_hello_octet(at, record1_size_);
  if (at < kSessionIdLengthAt) {
    frame_[at - kRandomAt] = octet;
    return true;
  }
  if (at == kSessionIdLengthAt) return octet == 0x20;
  if (at < kFrameEnd) frame_[at - kSessionIdAt + 32] = octet;
  return true;
}

std::size_t TlsHelloReader::read_record2(ByteView bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && header2_read_ < header2_.size()) header2_[header2_read_++] = bytes[taken++];
  if (header2_read_ < header2_.size()) return taken;
  if (record2_.empty() && !accept_record2_header()) {
    transition_to(State::kFailed);
    return taken;
  }
  const ByteView part = bytes.subspan(taken, std::min(bytes.size() - taken, record2_size_ - record2_.size()));
  record2_.insert(record2_.end(), part.begin(), part.end());
  if (record2_.size() == record2_size_) transition_to(State::kComplete);
  return taken + part.size();
}

bool TlsHelloReader::accept_record2_header() {
  const std::uint16_t version = load_be<std::uint16_t>(header2_.data() + 1);
  const std::size_t length = load_be<std::uint16_t>(header2_.data() + 3);
  if (header2_[0] != kHandshake && header2_[0] != kApplicationData) return false;
  if (version != kVersion10 && version != kVersion12) return false;
  if (length == 0 || length + kHeader > kMaxRecord2) return false;
  record2_size_ = length + kHeader;
  record2_.reserve(record2_size_);
  record2_.assign(header2_.begin(), header2_.end());
  return true;
}

}  // namespace natt::spa
