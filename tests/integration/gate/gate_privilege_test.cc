// SPDX-License-Identifier: Apache-2.0
// What privilege the kernel gate takes, and what it says without.
#include <linux/capability.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "tests/integration/gate/gate_fixture.h"
#include "tests/integration/gate/gate_lines.h"

using namespace natt;
using namespace natt::spa;
using namespace natt::test;

namespace {

// What `body` says in a child process of its own.
std::string in_child(const std::function<std::string()>& body) {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string said = body();
    const bool written = ::write(pipe[1], said.data(), said.size()) == static_cast<ssize_t>(said.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(pipe[1]);
  std::string said;
  std::array<char, 4096> piece{};
  for (ssize_t size = 0; (size = ::read(pipe[0], piece.data(), piece.size())) > 0;) {
    said.append(piece.data(), static_cast<std::size_t>(size));
  }
  ::close(pipe[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return said;
}

bool set_capabilities(std::uint64_t set, std::uint64_t kept = 0) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const auto low = static_cast<std::uint32_t>(set);
  const auto high = static_cast<std::uint32_t>(set >> 32);
  const auto kept_low = static_cast<std::uint32_t>(set | kept);
  const auto kept_high = static_cast<std::uint32_t>((set | kept) >> 32);
  std::array<__user_cap_data_struct, 2> data{{{low, kept_low, 0}, {high, kept_high, 0}}};
  return ::syscall(SYS_capset, &header, data.data()) == 0;
}

std::string open_and_say() {
  auto gate = open_kernel_gate({});
  return gate ? "on" : gate.error().message;
}

}  // namespace

TEST_CASE("kernel gate: CAP_BPF is enough to open it, and none is needed to use it", "[gate]") {
  if (!make_gate()) return;
  CHECK(in_child([]() -> std::string {
          if (!set_capabilities(std::uint64_t{1} << CAP_BPF)) return "capset";
          auto gate = open_kernel_gate({});
          if (!gate) return gate.error().message;
          if (!set_capabilities(0)) return "capset";
          SeededRandom random(1);
          const auto listener = (*gate)->add_verifier(MaskKey(random.bytes<16>()));
          if (!listener) return "add_verifier";
          (*listener)->on_hint_added(Slot{1}, {1}, random.bytes<16>());
          (*gate)->flush();
          if ((*gate)->stats().hints != 1) return "hints";
          (*listener)->on_hint_removed(Slot{1}, {1});
          if ((*gate)->stats().hints != 0) return "removal";
          (*gate)->allow_source(*IpAddress::parse("192.0.2.1"));
          const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
          const auto attached = (*gate)->attach(socket, GateSocket::kBrokerUdp);
          return attached ? "on" : attached.error().message;
        }) == "on");
}

TEST_CASE("kernel gate: a table that could not grow tries again, and says so once", "[gate]") {
  if (!make_gate()) return;
  CHECK(in_child([]() -> std::string {
          constexpr std::uint64_t kBpf = std::uint64_t{1} << CAP_BPF;
          constexpr auto kRetry = std::chrono::milliseconds(200);
          Lines lines;
          auto gate = open_kernel_gate({.max_keys = 1024, .growth_retry = kRetry, .log = lines.sink()});
          if (!gate) return gate.error().message;
          if (!set_capabilities(0, kBpf)) return "capset";
          SeededRandom random(1);
          HintListener& listener = **(*gate)->add_verifier(MaskKey(random.bytes<16>()));
          for (int i = 0; i < 10'000; ++i) listener.on_hint_added(Slot{1}, random.bytes<8>(), random.bytes<16>());
          (*gate)->flush();
          if ((*gate)->complete()) return "grown without CAP_BPF";
          std::this_thread::sleep_for(kRetry);
          (*gate)->flush();
          if (lines.count("natt.spa.kernel_gate state=full") != 1) return "logged twice";
          if (!set_capabilities(kBpf)) return "capset";
          (*gate)->flush();
          if (lines.count("natt.spa.kernel_gate state=grown") != 0) return "asked too often";
          std::this_thread::sleep_for(kRetry);
          (*gate)->flush();
          if (lines.count("natt.spa.kernel_gate state=grown") != 1) return "not tried again";
          // The next slot's hints all fit.
          for (int i = 0; i < 10'000; ++i) listener.on_hint_added(Slot{2}, random.bytes<8>(), random.bytes<16>());
          listener.on_slot_retired(Slot{1});
          return (*gate)->complete() ? "on" : "incomplete";
        }) == "on");
}

TEST_CASE("kernel gate: without CAP_BPF it says what is missing", "[gate]") {
  CHECK(in_child([]() -> std::string { return set_capabilities(0) ? open_and_say() : "capset"; }).find(
            "needs CAP_BPF") != std::string::npos);
}

TEST_CASE("kernel gate: in a user namespace it says what is missing", "[gate]") {
  const std::string said =
      in_child([]() -> std::string { return ::unshare(CLONE_NEWUSER) == 0 ? open_and_say() : "no user namespaces"; });
  if (said == "no user namespaces") {
    WARN(said);
  } else {
    CHECK(said.find("needs CAP_BPF, outside of user namespaces") != std::string::npos);
  }
}

TEST_CASE("kernel gate: a socket of another kind of object is refused with a sentence", "[gate]") {
  const auto gate = make_gate();
  if (!gate) return;
  const auto refused = gate->attach(-1, GateSocket::kBrokerUdp);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("Bad file descriptor") != std::string::npos);
}
