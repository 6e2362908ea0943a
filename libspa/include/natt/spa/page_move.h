// SPDX-License-Identifier: Apache-2.0
#pragma once

// Work on the memory of a verifier's tables that changes nothing but its speed, and may take
// the kernel tens of milliseconds: to be run in another thread than the verifier's. Value type.

#include <cstddef>
#include <cstdint>

namespace natt::spa {

// A piece of a table that is full and becomes a huge page.
class PageMove {
 public:
  PageMove(std::uint8_t* begin, std::size_t size) : begin_(begin), size_(size) {}

  // Any thread, at any time: reads and writes of the memory go on, and when the table has gone meanwhile nothing is
  // done, or the same to what is there now.
  void run() const noexcept;

 private:
  std::uint8_t* begin_;
  std::size_t size_;
};

}  // namespace natt::spa
