// SPDX-License-Identifier: Apache-2.0
#pragma once

// One knock as lab_knocker makes and times it: UDP with its repeats, and TCP connections that are tried until the
// broker's first TLS octet is there: only then is the door open. Plain sockets around libspa; the caller polls.

#include <poll.h>
#include <sys/socket.h>

#include <list>
#include <memory>
#include <string>
#include <vector>

#include <natt/spa/knock_schedule.h>

namespace natt::test {

struct KnockPlan {
  // A new connection, so many milliseconds after the knock, with the hello in its SYN or not.
  struct Step {
    double at_ms = 0;
    bool in_syn = false;
  };
  std::string to;
  std::uint16_t port = 443;
  std::uint16_t dns_port = 53;
  bool udp = true;
  bool dns = true;
  std::vector<Step> steps;
  int timeout_ms = 3000;
};

// A socket address.
struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;

  // Ends the program when the text is no address.
  Target(const std::string& text, std::uint16_t port);
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

struct Outcome {
  double start = 0;  // unix seconds
  double synack_ms = -1;  // -1: never
  double open_ms = -1;
};

class TimedKnock {
 public:
  // `from` is a source address or null. Everything outlives the knock.
  TimedKnock(const Target& target, const Target* from, const KnockPlan& plan, spa::Knocker& knocker, Random& random);
  ~TimedKnock();
  TimedKnock(const TimedKnock&) = delete;
  TimedKnock& operator=(const TimedKnock&) = delete;

  [[nodiscard]] bool done() const { return outcome_.open_ms >= 0 || age() >= plan_.timeout_ms; }
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }

  // Sends and starts what is due.
  void handle_timeout();
  // Milliseconds until something is due.
  [[nodiscard]] double wait() const;
  void add_to(std::vector<pollfd>& polled) const;
  // Takes as many results as add_to gave; returns how many.
  std::size_t handle(const pollfd* polled);

 private:
  class Socket;
  class Attempt;

  [[nodiscard]] double age() const;

  const Target& target_;
  const Target dns_target_;
  const Target* from_;
  const KnockPlan& plan_;
  spa::Knocker& knocker_;
  Random& random_;
  std::unique_ptr<Socket> udp_;
  spa::KnockSchedule schedule_;
  Instant started_;
  spa::KnockId id_{};
  std::list<Attempt> attempts_;
  std::size_t next_ = 0;
  Outcome outcome_;
};

// The two clocks of this machine.
[[nodiscard]] Instant steady_now();
[[nodiscard]] WallTime system_now();

}  // namespace natt::test
