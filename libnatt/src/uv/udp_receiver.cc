// SPDX-License-Identifier: Apache-2.0
#include "src/uv/udp_receiver.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <cerrno>
#include <cstring>

#include "src/uv/bound_socket.h"
#include "src/uv/native_address.h"

namespace natt::uv {
namespace {

// The largest UDP payload; a GRO train is not longer either.
constexpr std::size_t kBufferSize = 65536;
constexpr std::uint8_t kEcnMask = 0x03;  // RFC 3168 section 5
// A pending ICMP error makes one call fail and is gone then; more in a row are left for the next turn.
constexpr int kSoftErrorsPerCall = 8;

template <typename T>
T read_value(const cmsghdr& header) {
  T value{};
  std::memcpy(&value, CMSG_DATA(&header), sizeof value);
  return value;
}

IpAddress from_in_addr(const in_addr& address) {
  std::array<std::uint8_t, 4> octets{};
  std::memcpy(octets.data(), &address, octets.size());
  return IpAddress::v4(octets);
}

IpAddress from_in6_addr(const in6_addr& address) {
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), &address, octets.size());
  return IpAddress::v6(octets);
}

void read_ip_control(const cmsghdr& header, ReceivedTrain& train) {
  if (header.cmsg_type == IP_PKTINFO) train.local = from_in_addr(read_value<in_pktinfo>(header).ipi_addr);
  if (header.cmsg_type == IP_TOS) train.ecn = static_cast<std::uint8_t>(read_value<std::uint8_t>(header) & kEcnMask);
}

void read_ipv6_control(const cmsghdr& header, ReceivedTrain& train) {
  if (header.cmsg_type == IPV6_PKTINFO) train.local = from_in6_addr(read_value<in6_pktinfo>(header).ipi6_addr);
  if (header.cmsg_type == IPV6_TCLASS) train.ecn = static_cast<std::uint8_t>(read_value<int>(header) & kEcnMask);
}

}  // namespace

UdpReceiver::UdpReceiver(std::size_t batch, UdpSocket::Stats& stats)
    : stats_(stats),
      memory_(new std::uint8_t[batch * kBufferSize]),  // not zeroed: untouched pages cost nothing
      slots_(batch),
      messages_(batch) {
  for (std::size_t i = 0; i < batch; ++i) slots_[i].vector = {memory_.get() + i * kBufferSize, kBufferSize};
}

void UdpReceiver::prepare() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    msghdr& header = messages_[i].msg_hdr;
    header = {};
    header.msg_name = &slots_[i].from;
    header.msg_namelen = sizeof slots_[i].from;
    header.msg_iov = &slots_[i].vector;
    header.msg_iovlen = 1;
    header.msg_control = slots_[i].control.data();
    header.msg_controllen = slots_[i].control.size();
  }
}

std::size_t UdpReceiver::receive(int fd) {
  for (int attempt = 0; attempt < kSoftErrorsPerCall; ++attempt) {
    prepare();
    const int count = ::recvmmsg(fd, messages_.data(), static_cast<unsigned>(messages_.size()), MSG_DONTWAIT, nullptr);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
    ++stats_.soft_errors;
  }
  return 0;
}

std::optional<ReceivedTrain> UdpReceiver::train(std::size_t index) {
  msghdr& header = messages_[index].msg_hdr;
  const std::size_t length = messages_[index].msg_len;
  ReceivedTrain train;
  train.bytes = {memory_.get() + index * kBufferSize, length};
  train.segment_size = length;
  read_control(header, train);
  if (length == 0 || (header.msg_flags & MSG_TRUNC) != 0 || train.segment_size == 0) return std::nullopt;
  train.from = from_native(slots_[index].from);
  ++stats_.trains_received;
  stats_.datagrams_received += (length + train.segment_size - 1) / train.segment_size;
  stats_.bytes_received += length;
  return train;
}

void UdpReceiver::read_control(msghdr& message, ReceivedTrain& train) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == IPPROTO_IP) read_ip_control(*header, train);
    if (header->cmsg_level == IPPROTO_IPV6) read_ipv6_control(*header, train);
    if (header->cmsg_level == SOL_UDP && header->cmsg_type == UDP_GRO) {
      train.segment_size = static_cast<std::size_t>(read_value<int>(*header));
    }
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SO_RXQ_OVFL) {
      count_overflow(read_value<std::uint32_t>(*header));
    }
  }
}

void UdpReceiver::count_overflow(std::uint32_t total) {
  stats_.overflowed += static_cast<std::uint32_t>(total - overflow_total_);  // the kernel's counter wraps
  overflow_total_ = total;
}

void enable_receive_options(int fd, int family, bool gro) {
  set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
  // On a dual-stack socket IPv4 packets report their TOS by the IPv4 option, their destination by the IPv6 one.
  set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
  set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  if (family == AF_INET6) {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  } else {
    set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  }
  if (gro) set_option(fd, SOL_UDP, UDP_GRO, 1);
}

}  // namespace natt::uv
