// SPDX-License-Identifier: Apache-2.0
// SipHash as the kernel runs it against libspa's.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/siphash.h>

#include "tests/integration/gate/gate_fixture.h"

using namespace natt;
using namespace natt::test;

namespace {

alignas(8) constexpr std::uint8_t kProbe[] = {
#include "siphash_probe.bpf.inc"
};

// The program on one end of a pair of sockets: what is sent into the other is hashed before it arrives.
class KernelSipHash {
 public:
  KernelSipHash() : object_(bpf_object__open_mem(kProbe, sizeof kProbe, nullptr)) {
    REQUIRE(object_ != nullptr);
    REQUIRE(bpf_object__load(object_) == 0);
    result_ = bpf_map__fd(bpf_object__find_map_by_name(object_, "siphash_result"));
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends_.data()) == 0);
    const int program = bpf_program__fd(bpf_object__find_program_by_name(object_, "siphash_probe"));
    REQUIRE(::setsockopt(ends_[1], SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof program) == 0);
  }
  ~KernelSipHash() {
    for (const int end : ends_) ::close(end);
    bpf_object__close(object_);
  }
  KernelSipHash(const KernelSipHash&) = delete;
  KernelSipHash& operator=(const KernelSipHash&) = delete;

  [[nodiscard]] std::uint64_t hash(ByteView key, ByteView message) {
    ByteBuffer bytes(key.begin(), key.end());
    bytes.insert(bytes.end(), message.begin(), message.end());
    REQUIRE(::send(ends_[0], bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    REQUIRE(::recv(ends_[1], bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    const std::uint32_t zero = 0;
    std::uint64_t value = 0;
    REQUIRE(bpf_map_lookup_elem(result_, &zero, &value) == 0);
    return value;
  }

 private:
  bpf_object* object_;
  int result_ = -1;
  std::array<int, 2> ends_{};
};

}  // namespace

TEST_CASE("kernel gate: SipHash in the kernel equals libspa's on random keys and messages", "[gate]") {
  if (!may_load_programs()) {
    WARN("no programs may be loaded here");
    return;
  }
  SeededRandom random(test_seed());
  KernelSipHash kernel;
  for (int i = 0; i < 10'000; ++i) {
    const auto key = random.bytes<16>();
    for (const std::size_t size : {4u, 8u, 12u, 57u}) {
      ByteBuffer message(size);
      random.fill(message);
      const std::uint64_t here = siphash24(key, message);
      if (kernel.hash(key, message) != here) FAIL("message of " << size << " octets, run " << i);
    }
  }
}
