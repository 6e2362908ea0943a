// SPDX-License-Identifier: Apache-2.0
#pragma once

// What lab_flood sends: records of a file (length as 2 octets big-endian, then the octets), or random octets,
// and a part of each that is made random anew.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace natt::test {

// A range of octets, the end excluded.
struct Range {
  std::size_t from = 0;
  std::size_t to = 0;
};

// SplitMix64: garbage has to be cheap, not good.
class CheapRandom {
 public:
  explicit CheapRandom(std::uint64_t seed) : state_(seed) {}
  [[nodiscard]] std::uint64_t next();
  void fill(std::span<std::uint8_t> out);

 private:
  std::uint64_t state_;
};

// Value type; hands out one payload after the other, for ever.
class PayloadSource {
 public:
  static constexpr std::size_t kMaxPayload = 65535;

  // Nothing when the file cannot be read, holds nothing, or ends inside a record.
  [[nodiscard]] static std::optional<PayloadSource> from_file(const std::string& path);
  // Random octets of `sizes.from` up to and with `sizes.to`.
  [[nodiscard]] static PayloadSource random(Range sizes);
  // This part of every payload is random. Longer payloads only; shorter ones stay as they are.
  void set_stirred(Range stirred) { stirred_ = stirred; }

  // Writes the next payload and returns its size. `out` has room for kMaxPayload.
  [[nodiscard]] std::size_t next(std::span<std::uint8_t> out, CheapRandom& random);
  // All records, for a look at them before they are sent. Empty for random payloads.
  [[nodiscard]] const std::vector<std::vector<std::uint8_t>>& records() const { return records_; }

 private:
  std::vector<std::vector<std::uint8_t>> records_;
  std::size_t next_record_ = 0;
  Range sizes_;
  Range stirred_;
};

}  // namespace natt::test
