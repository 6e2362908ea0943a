// SPDX-License-Identifier: Apache-2.0
#include "src/uv/udp_sender.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "src/uv/native_address.h"
#include "src/uv/segmentation_test.h"

namespace natt::uv {
namespace {

// UDP_MAX_SEGMENTS of kernels before 6.9; later ones take 128, which 64 KiB never needs at 1200 octets.
constexpr std::size_t kMaximumSegments = 64;
// What one IPv4 packet carries: 65535 - 20 - 8. IPv6 would take 20 more.
constexpr std::size_t kMaximumTrain = 65507;
constexpr std::size_t kMaximumHeader = 64;
// A route can change: after this many trains segmentation is tried again.
constexpr std::uint32_t kRefusalTrains = 4096;

// The control messages of one send: source address, ECN, segment size.
class Control {
 public:
  void add_source(const IpAddress& from, bool v4) {
    if (from.is_unspecified()) return;
    if (v4) {
      in_pktinfo info{};
      std::memcpy(&info.ipi_spec_dst, from.octets().data() + 12, sizeof info.ipi_spec_dst);
      add(IPPROTO_IP, IP_PKTINFO, info);
    } else {
      in6_pktinfo info{};
      std::memcpy(&info.ipi6_addr, from.octets().data(), sizeof info.ipi6_addr);
      add(IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
  }
  void add_ecn(std::uint8_t ecn, bool v4) {
    if (ecn == 0) return;
    const int value = ecn;
    v4 ? add(IPPROTO_IP, IP_TOS, value) : add(IPPROTO_IPV6, IPV6_TCLASS, value);
  }
  void add_segment_size(std::size_t size) { add(SOL_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(size)); }

  void attach(msghdr& message) const {
    message.msg_control = size_ == 0 ? nullptr : const_cast<std::uint8_t*>(bytes_.data());  // the kernel only reads
    message.msg_controllen = size_;
  }

 private:
  template <typename T>
  void add(int level, int type, const T& value) {
    cmsghdr header{};
    header.cmsg_level = level;
    header.cmsg_type = type;
    header.cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(bytes_.data() + size_, &header, sizeof header);
    std::memcpy(bytes_.data() + size_ + CMSG_LEN(0), &value, sizeof value);
    size_ += CMSG_SPACE(sizeof value);
  }

  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int))> bytes_{};
  std::size_t size_ = 0;
};

iovec to_iovec(ByteView bytes) { return {const_cast<std::uint8_t*>(bytes.data()), bytes.size()}; }

bool means_unsegmentable(int error) { return error == EIO || error == EINVAL || error == EMSGSIZE; }

}  // namespace

class UdpSender::Shape {
 public:
  Shape(const OutgoingTrain& train, const NativeAddress& to) : train_(train), to_(to) {
    const std::size_t total = train.bytes.size();
    segment_ = train.segment_size == 0 ? total : std::min(train.segment_size, total);
    count_ = total == 0 ? 1 : (total + segment_ - 1) / segment_;
    const bool v4 = train.to.ip.is_v4();
    control_.add_source(train.from, v4);
    control_.add_ecn(train.ecn, v4);
  }

  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t datagram_size() const { return train_.header.size() + segment_; }
  [[nodiscard]] const IpAddress& destination() const { return train_.to.ip; }
  [[nodiscard]] Control control() const { return control_; }
  [[nodiscard]] std::size_t end_of(std::size_t index) const { return std::min(index * segment_, train_.bytes.size()); }
  [[nodiscard]] std::size_t run_from(std::size_t index) const {
    const std::size_t fitting = std::max<std::size_t>(kMaximumTrain / std::max<std::size_t>(datagram_size(), 1), 1);
    return std::min({count_ - index, kMaximumSegments, fitting});
  }

  // Appends the pieces of datagrams [first, first + count); returns how many.
  std::size_t gather(std::size_t first, std::size_t count, iovec* out) const {
    if (train_.header.empty()) {
      out[0] = to_iovec(train_.bytes.subspan(end_of(first), end_of(first + count) - end_of(first)));
      return 1;
    }
    for (std::size_t i = first; i < first + count; ++i) {
      *out++ = to_iovec(train_.header);
      *out++ = to_iovec(train_.bytes.subspan(end_of(i), end_of(i + 1) - end_of(i)));
    }
    return 2 * count;
  }

  void address(msghdr& message) const {
    message.msg_name = const_cast<sockaddr_storage*>(&to_.storage);  // the kernel only reads
    message.msg_namelen = to_.length;
  }

 private:
  const OutgoingTrain& train_;
  const NativeAddress& to_;
  Control control_;
  std::size_t segment_ = 0;
  std::size_t count_ = 0;
};

UdpSender::UdpSender(int fd, int family, bool gso, UdpSocket::Stats& stats)
    : fd_(fd), family_(family), gso_(gso && segmentation_works(fd)), stats_(stats) {}

SendResult UdpSender::send(const OutgoingTrain& train) {
  const auto to = to_native(train.to, family_);
  const bool mixed = !train.from.is_unspecified() && train.from.is_v4() != train.to.ip.is_v4();
  if (!to || mixed || train.header.size() > kMaximumHeader) {
    ++stats_.send_failed;
    return {SendStatus::kFailed, train.bytes.size()};
  }
  const Shape shape(train, *to);
  SendStatus status = SendStatus::kSent;
  std::size_t next = 0;
  while (next < shape.count() && status != SendStatus::kBlocked) {
    const std::size_t before = next;
    const int error = send_some(shape, next);
    stats_.datagrams_sent += next - before;
    stats_.bytes_sent += shape.end_of(next) - shape.end_of(before) + (next - before) * train.header.size();
    if (error != 0) status = handle_error(error, shape, next);
  }
  return {status, shape.end_of(next)};
}

int UdpSender::send_some(const Shape& shape, std::size_t& next) {
  const std::size_t run = shape.run_from(next);
  if (run < 2 || !gso_ || !may_segment(shape.destination())) return send_plain(shape, run, next);
  const int error = send_segmented(shape, run, next);
  return means_unsegmentable(error) ? send_refused(shape, run, next, error) : error;
}

int UdpSender::send_refused(const Shape& shape, std::size_t run, std::size_t& next, int refusal) {
  const int error = send_plain(shape, run, next);
  // EMSGSIZE blames the datagrams, not the route; and what cannot go at all says nothing about segmentation.
  if (error == 0 && refusal != EMSGSIZE) {
    refusal_slot(shape.destination()) = {shape.destination(), kRefusalTrains};
    ++stats_.gso_fallbacks;
  }
  return error;
}

int UdpSender::send_segmented(const Shape& shape, std::size_t run, std::size_t& next) {
  std::array<iovec, 2 * kMaximumSegments> pieces;
  Control control = shape.control();
  control.add_segment_size(shape.datagram_size());
  msghdr message{};
  shape.address(message);
  control.attach(message);
  message.msg_iov = pieces.data();
  message.msg_iovlen = shape.gather(next, run, pieces.data());
  if (::sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return errno;
  ++stats_.trains_sent;
  next += run;
  return 0;
}

int UdpSender::send_plain(const Shape& shape, std::size_t run, std::size_t& next) {
  std::array<iovec, 2 * kMaximumSegments> pieces;
  std::array<mmsghdr, kMaximumSegments> messages;
  const Control control = shape.control();
  for (std::size_t i = 0; i < run; ++i) {
    msghdr& message = messages[i].msg_hdr;
    message = {};
    shape.address(message);
    control.attach(message);
    message.msg_iov = pieces.data() + 2 * i;
    message.msg_iovlen = shape.gather(next + i, 1, message.msg_iov);
  }
  const int sent = ::sendmmsg(fd_, messages.data(), static_cast<unsigned>(run), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno;
  next += static_cast<std::size_t>(sent);
  return 0;
}

SendStatus UdpSender::handle_error(int error, const Shape& shape, std::size_t& next) {
  switch (error) {
    case EAGAIN:
      ++stats_.blocked;
      return SendStatus::kBlocked;
    case EMSGSIZE:
      ++stats_.too_big;
      ++next;
      return SendStatus::kTooBig;
    default:
      stats_.send_failed += shape.count() - next;
      next = shape.count();
      return SendStatus::kFailed;
  }
}

UdpSender::Refusal& UdpSender::refusal_slot(const IpAddress& destination) {
  return refusals_[std::hash<IpAddress>{}(destination) % refusals_.size()];
}

bool UdpSender::may_segment(const IpAddress& destination) {
  Refusal& refusal = refusal_slot(destination);
  if (refusal.trains_left == 0 || refusal.destination != destination) return true;
  --refusal.trains_left;
  return false;
}

}  // namespace natt::uv
