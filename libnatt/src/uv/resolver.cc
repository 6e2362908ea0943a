// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/resolver.h>

#include <netdb.h>
#include <uv.h>

#include <cstring>

#include <natt/errc.h>

namespace natt::uv {
namespace {

IpAddress address_of(const sockaddr& socket_address) {
  if (socket_address.sa_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &socket_address, sizeof four);
    std::array<std::uint8_t, 4> octets{};
    std::memcpy(octets.data(), &four.sin_addr, octets.size());
    return IpAddress::v4(octets);
  }
  sockaddr_in6 six{};
  std::memcpy(&six, &socket_address, sizeof six);
  std::array<std::uint8_t, 16> octets{};
  std::memcpy(octets.data(), &six.sin6_addr, octets.size());
  return IpAddress::v6(octets);
}

std::vector<IpAddress> addresses_of(const addrinfo* list) {
  std::vector<IpAddress> addresses;
  for (; list != nullptr; list = list->ai_next) {
    if (list->ai_family == AF_INET || list->ai_family == AF_INET6) addresses.push_back(address_of(*list->ai_addr));
  }
  return addresses;
}

}  // namespace

// Lives until libuv calls back, longer than the resolver when that is destroyed first.
struct Resolver::Request {
  uv_getaddrinfo_t native{};
  Resolver* owner = nullptr;
  std::uint64_t number = 0;
  std::string host;
  Done done;

  static void on_done(uv_getaddrinfo_t* native, int status, addrinfo* list) noexcept {
    const std::unique_ptr<Request> request(static_cast<Request*>(native->data));
    std::vector<IpAddress> addresses = addresses_of(list);
    uv_freeaddrinfo(list);
    if (request->owner == nullptr) return;
    request->owner->pending_.erase(request->number);
    if (status == 0 && !addresses.empty()) return request->done(std::move(addresses));
    request->done(fail(Errc::kUnavailable, "the name " + request->host + " does not resolve" +
                                               (status == 0 ? "" : std::string(": ") + uv_strerror(status))));
  }
};

Resolver::~Resolver() {
  for (auto& [number, request] : pending_) {
    request->owner = nullptr;
    uv_cancel(reinterpret_cast<uv_req_t*>(&request->native));
  }
}

Result<void> Resolver::resolve(const std::string& host, Done done) {
  if (pending_.size() >= kMaxPending) return fail(Errc::kLimit, "too many names are being resolved");
  auto request = std::make_unique<Request>();
  request->owner = this;
  request->number = next_++;
  request->host = host;
  request->done = std::move(done);
  request->native.data = request.get();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  const int status =
      uv_getaddrinfo(&loop_, &request->native, &Request::on_done, host.c_str(), nullptr, &hints);
  if (status != 0) return fail(Errc::kIo, std::string("getaddrinfo: ") + uv_strerror(status));
  pending_.emplace(request->number, request.get());
  static_cast<void>(request.release());
  return {};
}

}  // namespace natt::uv
