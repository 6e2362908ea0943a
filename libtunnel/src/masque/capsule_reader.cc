// SPDX-License-Identifier: Apache-2.0
#include "src/masque/capsule_reader.h"

#include <algorithm>

#include <natt/tunnel/streams.h>

#include "src/masque/varint.h"

namespace natt::tunnel {
namespace {

// Type and length, eight octets each at most.
constexpr std::size_t kMaxHeader = 16;
// A context id of eight octets and the payload.
constexpr std::size_t kMaxDatagramValue = 8 + kMaxDatagram;

bool is_control(std::uint64_t type) {
  return type >= static_cast<std::uint64_t>(CapsuleType::kAddressAssign) &&
         type <= static_cast<std::uint64_t>(CapsuleType::kRouteAdvertisement);
}

}  // namespace

std::optional<CapsuleReader::Item> CapsuleReader::read(ByteView& bytes) {
  for (;;) {
    switch (state_) {
      case State::kBroken: return Malformed{};
      case State::kSkip:
        skip(bytes);
        if (state_ == State::kSkip) return std::nullopt;
        break;
      case State::kHeader:
        if (bytes.empty() || !read_header(bytes)) return std::nullopt;
        break;
      case State::kValue: {
        if (left_ > held_.size() && bytes.empty()) return std::nullopt;
        auto item = read_value(bytes);
        if (item || state_ == State::kValue) return item;
        break;  // a datagram of a context that was never registered: dropped (RFC 9298 section 5)
      }
    }
  }
}

bool CapsuleReader::read_header(ByteView& bytes) {
  const std::size_t taken = std::min(kMaxHeader - held_.size(), bytes.size());
  const std::size_t before = held_.size();
  held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  ByteReader in(held_);
  const auto type = read_varint(in);
  const auto length = type ? read_varint(in) : std::nullopt;
  if (!length) {
    bytes = bytes.subspan(taken);
    return false;
  }
  bytes = bytes.subspan(held_.size() - in.rest().size() - before);
  held_.clear();
  type_ = *type;
  left_ = *length;
  if (is_control(type_)) {
    state_ = left_ <= kMaxControlCapsule ? State::kValue : State::kBroken;
  } else if (type_ == static_cast<std::uint64_t>(CapsuleType::kDatagram)) {
    // RFC 9298 section 5 and RFC 9484 section 7 let an endpoint drop what it cannot forward.
    state_ = left_ <= kMaxDatagramValue ? State::kValue : State::kSkip;
  } else {
    state_ = State::kSkip;
  }
  return true;
}

void CapsuleReader::skip(ByteView& bytes) {
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
  bytes = bytes.subspan(count);
  left_ -= count;
  if (left_ == 0) state_ = State::kHeader;
}

std::optional<CapsuleReader::Item> CapsuleReader::read_value(ByteView& bytes) {
  const auto length = static_cast<std::size_t>(left_);
  if (held_.empty() && bytes.size() >= length) {
    const ByteView value = bytes.first(length);
    bytes = bytes.subspan(length);
    return finish(value);
  }
  const std::size_t taken = std::min(length - held_.size(), bytes.size());
  held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  bytes = bytes.subspan(taken);
  if (held_.size() < length) return std::nullopt;
  complete_.swap(held_);
  held_.clear();
  return finish(complete_);
}

std::optional<CapsuleReader::Item> CapsuleReader::finish(ByteView value) {
  state_ = State::kHeader;
  if (is_control(type_)) {
    auto capsule = parse_capsule_value(static_cast<CapsuleType>(type_), value);
    if (capsule) return Item{std::move(*capsule)};
    state_ = State::kBroken;
    return Item{Malformed{}};
  }
  ByteReader in(value);
  const auto context = read_varint(in);
  if (!context) {  // a DATAGRAM capsule without a context id breaks RFC 9298 section 4
    state_ = State::kBroken;
    return Item{Malformed{}};
  }
  if (*context != 0) return std::nullopt;
  return Item{DatagramPayload{in.rest()}};
}

}  // namespace natt::tunnel
