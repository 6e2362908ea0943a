// SPDX-License-Identifier: Apache-2.0
#pragma once

// Takes trains of datagrams from a UDP descriptor: recvmmsg, GRO, and what the
// control messages say about each. Owns the buffers; knows nothing of the loop.

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <natt/uv/udp_socket.h>

namespace natt::uv {

class UdpReceiver {
 public:
  // One buffer per train, each large enough for any UDP payload: address space, touched only when used.
  UdpReceiver(std::size_t batch, UdpSocket::Stats& stats);
  UdpReceiver(const UdpReceiver&) = delete;
  UdpReceiver& operator=(const UdpReceiver&) = delete;

  // Fills the batch; returns how many trains it holds, 0 when nothing waits.
  [[nodiscard]] std::size_t receive(int fd);
  // Absent for what is not to be delivered (empty or truncated). Valid until the next receive().
  [[nodiscard]] std::optional<ReceivedTrain> train(std::size_t index);
  [[nodiscard]] std::size_t batch() const { return messages_.size(); }

 private:
  struct Slot {
    sockaddr_storage from{};
    iovec vector{};
    // PKTINFO 40, traffic class 24, GRO 24, overflow counter 24; twice the first two on mixed sockets.
    alignas(cmsghdr) std::array<std::uint8_t, 192> control{};
  };
  void prepare();
  void read_control(msghdr& message, ReceivedTrain& train);
  void count_overflow(std::uint32_t total);

  UdpSocket::Stats& stats_;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::vector<Slot> slots_;
  std::vector<mmsghdr> messages_;
  std::uint32_t overflow_total_ = 0;
};

// Asks the kernel for everything the receiver can read. GRO is a wish.
void enable_receive_options(int fd, int family, bool gro);

}  // namespace natt::uv
