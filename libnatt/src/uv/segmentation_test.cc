// SPDX-License-Identifier: Apache-2.0
#include "src/uv/segmentation_test.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "src/uv/bound_socket.h"
#include "src/uv/native_address.h"

namespace natt::uv {
namespace {

constexpr int kSegment = 96;
constexpr std::size_t kSegments = 3;
// Loopback delivers before send returns; this is for a machine under load.
constexpr int kPatienceMilliseconds = 20;

using Train = std::array<std::uint8_t, kSegments * static_cast<std::size_t>(kSegment)>;

Train make_train() {
  Train train{};
  for (std::size_t i = 0; i < train.size(); ++i) train[i] = static_cast<std::uint8_t>(i * 7 + i / kSegment);
  return train;
}

// False only when something else than the segment has come.
bool next_segment_intact(int fd, const std::uint8_t* expected) {
  pollfd waiting{fd, POLLIN, 0};
  if (::poll(&waiting, 1, kPatienceMilliseconds) != 1) return true;
  std::array<std::uint8_t, 2 * static_cast<std::size_t>(kSegment)> got{};
  const ssize_t length = ::recv(fd, got.data(), got.size(), MSG_DONTWAIT);
  return length == kSegment && std::equal(expected, expected + kSegment, got.begin());
}

bool train_arrives_intact() {
  const SocketAddress loopback{IpAddress::v4({127, 0, 0, 1}), 0};
  const auto receiver = open_bound_socket(SOCK_DGRAM, loopback, PortSharing::kNone);
  const auto sender = open_bound_socket(SOCK_DGRAM, loopback, PortSharing::kNone);
  if (!receiver || !sender) return true;
  const auto to = to_native(bound_address(receiver->fd.get()), sender->family);
  if (!to || !set_option(sender->fd.get(), SOL_UDP, UDP_SEGMENT, kSegment)) return true;
  const Train train = make_train();
  if (::sendto(sender->fd.get(), train.data(), train.size(), MSG_DONTWAIT, to->get(), to->length) < 0) return true;
  for (std::size_t i = 0; i < kSegments; ++i) {
    if (!next_segment_intact(receiver->fd.get(), train.data() + i * kSegment)) return false;
  }
  return true;
}

}  // namespace

bool segmentation_works(int fd) {
  // 0 keeps sends unsegmented unless they ask for it; an old kernel says ENOPROTOOPT.
  return set_option(fd, SOL_UDP, UDP_SEGMENT, 0) && train_arrives_intact();
}

}  // namespace natt::uv
