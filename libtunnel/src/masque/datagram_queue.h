// SPDX-License-Identifier: Apache-2.0
#pragma once

// A bounded FIFO of datagrams in one ring of octets: no allocation per datagram. The ring
// itself is allocated when the first one comes. When it is full the newest is refused.
// Resource type.

#include <cstddef>
#include <optional>
#include <vector>

#include <natt/bytes.h>
#include <natt/tunnel/streams.h>

namespace natt::tunnel {

class DatagramQueue {
 public:
  // `capacity` in octets of payload and of one header of 24 octets each.
  explicit DatagramQueue(std::size_t capacity) : capacity_(capacity) {}
  DatagramQueue(const DatagramQueue&) = delete;
  DatagramQueue& operator=(const DatagramQueue&) = delete;

  [[nodiscard]] bool empty() const { return count_ == 0; }
  // The payload is the two parts one behind the other. False when there is no room.
  [[nodiscard]] bool push(StreamId stream, ByteView first, ByteView second = {});
  // The oldest; valid until the next pop() or push().
  [[nodiscard]] std::optional<Datagram> front() const;
  void pop();
  // Takes the oldest out; valid until the next poll() or push().
  [[nodiscard]] std::optional<Datagram> poll();

 private:
  struct Header {
    StreamId stream;
    std::size_t size = 0;
  };
  [[nodiscard]] std::optional<std::size_t> place_for(std::size_t need);

  // Records are contiguous: [begin, end), or after a wrap [begin, wrap) and then [0, end).
  std::size_t capacity_;
  std::vector<std::uint8_t> ring_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t wrap_ = 0;
  std::size_t count_ = 0;
  bool wrapped_ = false;
  bool given_ = false;  // the oldest is in the hands of who polled it
};

}  // namespace natt::tunnel
