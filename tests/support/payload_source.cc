// SPDX-License-Identifier: Apache-2.0
#include "support/payload_source.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

namespace natt::test {

std::uint64_t CheapRandom::next() {
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

void CheapRandom::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const std::uint64_t word = next();
    const std::size_t size = std::min(out.size(), sizeof word);
    std::memcpy(out.data(), &word, size);
    out = out.subspan(size);
  }
}

std::optional<PayloadSource> PayloadSource::from_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  PayloadSource source;
  for (std::size_t at = 0; at < content.size();) {
    if (content.size() - at < 2) return std::nullopt;
    const auto octet = [&](std::size_t index) { return static_cast<std::size_t>(static_cast<std::uint8_t>(content[index])); };
    const std::size_t size = octet(at) << 8 | octet(at + 1);
    at += 2;
    if (content.size() - at < size) return std::nullopt;
    const auto begin = content.begin() + static_cast<std::ptrdiff_t>(at);
    source.records_.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    at += size;
  }
  if (source.records_.empty()) return std::nullopt;
  return source;
}

PayloadSource PayloadSource::random(Range sizes) {
  PayloadSource source;
  source.sizes_ = sizes;
  return source;
}

std::size_t PayloadSource::next(std::span<std::uint8_t> out, CheapRandom& random) {
  if (records_.empty()) {
    const std::size_t size = sizes_.from + random.next() % (sizes_.to - sizes_.from + 1);
    random.fill(out.first(size));
    return size;
  }
  const auto& record = records_[next_record_];
  next_record_ = (next_record_ + 1) % records_.size();
  std::copy(record.begin(), record.end(), out.begin());
  if (stirred_.from < stirred_.to && stirred_.to <= record.size()) {
    random.fill(out.subspan(stirred_.from, stirred_.to - stirred_.from));
  }
  return record.size();
}

}  // namespace natt::test
