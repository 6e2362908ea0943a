// SPDX-License-Identifier: Apache-2.0
#pragma once

// Takes capsules (RFC 9297 section 3.2) out of the octets of one request stream as they
// arrive. DATAGRAM capsules of context 0 and the control capsules of RFC 9484 come out;
// unknown types are skipped (section 3.2: "MUST silently drop that Capsule and skip over it").
// Holds at most one capsule. Resource type.

#include <cstdint>
#include <optional>
#include <variant>

#include <natt/bytes.h>
#include <natt/tunnel/capsule.h>

namespace natt::tunnel {

class CapsuleReader {
 public:
  // `payload` without the context id; valid until the next call.
  struct DatagramPayload {
    ByteView payload;
  };
  struct Malformed {};
  using Item = std::variant<DatagramPayload, ControlCapsule, Malformed>;

  CapsuleReader() = default;
  CapsuleReader(const CapsuleReader&) = delete;
  CapsuleReader& operator=(const CapsuleReader&) = delete;

  // Reads from `bytes` and moves it forward; nothing when all was taken and more is needed.
  // After Malformed the stream is to be reset.
  [[nodiscard]] std::optional<Item> read(ByteView& bytes);
  // Whether the stream may end here: not inside a capsule.
  [[nodiscard]] bool at_boundary() const { return state_ == State::kHeader && held_.empty(); }

 private:
  enum class State : std::uint8_t { kHeader, kValue, kSkip, kBroken };

  [[nodiscard]] bool read_header(ByteView& bytes);
  [[nodiscard]] std::optional<Item> read_value(ByteView& bytes);
  [[nodiscard]] std::optional<Item> finish(ByteView value);
  void skip(ByteView& bytes);

  State state_ = State::kHeader;
  std::uint64_t type_ = 0;
  std::uint64_t left_ = 0;  // of the value
  ByteBuffer held_;         // header or value that is not complete
  ByteBuffer complete_;     // the value last returned, when it had to be put together
};

}  // namespace natt::tunnel
