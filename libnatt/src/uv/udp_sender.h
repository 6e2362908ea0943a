// SPDX-License-Identifier: Apache-2.0
#pragma once

// Hands trains of datagrams to a UDP descriptor: one sendmsg with UDP_SEGMENT for
// two datagrams or more, sendmmsg where that does not work. Gathers headers and
// slices by iovec, copies nothing. Knows nothing of the loop.
//
// UDP_SEGMENT is refused per route, not per machine (EIO: a device without checksum
// offload; EINVAL: IPsec, or old kernels and a datagram above the MTU), so the
// fall-back is remembered per destination, and for a limited number of trains.

#include <sys/socket.h>

#include <array>
#include <cstdint>

#include <natt/uv/udp_socket.h>

namespace natt::uv {

class UdpSender {
 public:
  UdpSender(int fd, int family, bool gso, UdpSocket::Stats& stats);
  UdpSender(const UdpSender&) = delete;
  UdpSender& operator=(const UdpSender&) = delete;

  SendResult send(const OutgoingTrain& train);
  [[nodiscard]] bool gso() const { return gso_; }

 private:
  class Shape;  // a train with its arithmetic done
  struct Refusal {
    IpAddress destination;
    std::uint32_t trains_left = 0;
  };

  // Each sends some of the datagrams from `next` on, moves `next`, and returns 0 or an errno.
  [[nodiscard]] int send_segmented(const Shape& shape, std::size_t run, std::size_t& next);
  [[nodiscard]] int send_plain(const Shape& shape, std::size_t run, std::size_t& next);
  [[nodiscard]] int send_some(const Shape& shape, std::size_t& next);
  [[nodiscard]] int send_refused(const Shape& shape, std::size_t run, std::size_t& next, int refusal);
  [[nodiscard]] SendStatus handle_error(int error, const Shape& shape, std::size_t& next);
  [[nodiscard]] Refusal& refusal_slot(const IpAddress& destination);
  [[nodiscard]] bool may_segment(const IpAddress& destination);

  int fd_;
  int family_;
  bool gso_;
  UdpSocket::Stats& stats_;
  std::array<Refusal, 16> refusals_{};
};

}  // namespace natt::uv
