// SPDX-License-Identifier: Apache-2.0
// Many knocks at one broker, timed. Each is a knock over UDP with its repeats, and one connection over TCP that is tried
// until the broker's first TLS octet is there: only then is the door open. Written around libspa alone.
//
//   lab_knocker --to 198.51.100.10 --port 443 --keys FILE [--keys FILE...] --count 100 --rate 30
//     --syn           the SPA hello travels in the SYN (TCP_FASTOPEN_NO_COOKIE)
//     --no-udp        TCP alone
//     --no-dns        UDP to the service port alone
//     --attempts 0,0.5,100,300p   when a new socket is tried, in ms after the knock; p: plainly, also with --syn
//     --timeout 3000  ms after which a knock has failed
//     --from A,B,C    source addresses, taken in turn
//     --log FILE      one line per knock: start (unix s), ms to the SYN-ACK, ms to the first octet; -1 for never
//     --save FILE     no TCP: writes the UDP datagrams as payloads for lab_flood, sends nothing
//
// Prints `knocks N opened M synack p50 A p99 B ms open p50 C p99 D max E ms`; status 0 when all were made.
#include <getopt.h>
#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "support/knock_key_file.h"
#include "support/timed_knock.h"

using namespace natt;
using test::KnockPlan;
using test::Outcome;
using test::Target;
using test::TimedKnock;

namespace {

struct Options {
  KnockPlan plan;
  std::vector<std::string> keys;
  std::vector<std::string> from;
  std::size_t count = 1;
  double rate = 10;
  bool syn = false;
  std::string attempts = "0,100,200,400,800,1600";
  std::string log;
  std::string save;
};

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "lab_knocker: %s\n", why.c_str());
  std::exit(2);
}

double milliseconds(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

std::vector<KnockPlan::Step> parse_steps(const std::string& text, bool syn) {
  std::vector<KnockPlan::Step> steps;
  for (const auto& part : split(text)) steps.push_back({std::strtod(part.c_str(), nullptr), syn && part.back() != 'p'});
  return steps;
}

Options parse_options(int argc, char** argv) {
  static const option kNames[] = {{"to", 1, nullptr, 't'},      {"port", 1, nullptr, 'p'},    {"keys", 1, nullptr, 'k'},
                                  {"count", 1, nullptr, 'c'},   {"rate", 1, nullptr, 'r'},    {"syn", 0, nullptr, 's'},
                                  {"no-udp", 0, nullptr, 'u'},  {"attempts", 1, nullptr, 'a'}, {"timeout", 1, nullptr, 'x'},
                                  {"log", 1, nullptr, 'l'},     {"save", 1, nullptr, 'w'},    {"from", 1, nullptr, 'f'},
                                  {"no-dns", 0, nullptr, 'n'},  {"dns-port", 1, nullptr, 'd'},
                                  {nullptr, 0, nullptr, 0}};
  Options options;
  for (int name = 0; (name = getopt_long(argc, argv, "", kNames, nullptr)) != -1;) {
    switch (name) {
      case 't': options.plan.to = optarg; break;
      case 'p': options.plan.port = static_cast<std::uint16_t>(std::strtoul(optarg, nullptr, 10)); break;
      case 'k': options.keys.emplace_back(optarg); break;
      case 'c': options.count = std::strtoul(optarg, nullptr, 10); break;
      case 'r': options.rate = std::strtod(optarg, nullptr); break;
      case 's': options.syn = true; break;
      case 'u': options.plan.udp = false; break;
      case 'a': options.attempts = optarg; break;
      case 'x': options.plan.timeout_ms = std::atoi(optarg); break;
      case 'n': options.plan.dns = false; break;
      case 'd': options.plan.dns_port = static_cast<std::uint16_t>(std::strtoul(optarg, nullptr, 10)); break;
      case 'f': options.from = split(optarg); break;
      case 'l': options.log = optarg; break;
      case 'w': options.save = optarg; break;
      default: die("see the comment at the top of lab_knocker.cc");
    }
  }
  options.plan.steps = parse_steps(options.attempts, options.syn);
  if (options.keys.empty() || options.rate <= 0 || options.plan.steps.empty()) die("say --keys, a --rate, --attempts");
  return options;
}

using Knockers = std::vector<std::unique_ptr<spa::Knocker>>;

void step(std::list<std::unique_ptr<TimedKnock>>& running, double until_next_ms) {
  std::vector<pollfd> polled;
  double wait = until_next_ms;
  for (const auto& knock : running) {
    knock->add_to(polled);
    wait = std::min(wait, knock->wait());
  }
  timespec timeout{};
  const auto nanoseconds = static_cast<std::int64_t>(std::max(0.0, wait) * 1e6);
  timeout.tv_sec = static_cast<time_t>(nanoseconds / 1'000'000'000);
  timeout.tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000);
  ppoll(polled.data(), polled.size(), &timeout, nullptr);
  const pollfd* at = polled.data();
  for (auto& knock : running) {
    at += knock->handle(at);
    knock->handle_timeout();
  }
}

std::vector<Outcome> run(const Options& options, const Knockers& knockers, Random& random) {
  const Target target(options.plan.to, options.plan.port);
  std::vector<Target> from;
  for (const auto& address : options.from) from.emplace_back(address, std::uint16_t{0});
  std::vector<Outcome> outcomes;
  std::list<std::unique_ptr<TimedKnock>> running;
  const Instant start = test::steady_now();
  for (std::size_t begun = 0; begun < options.count || !running.empty();) {
    const double due = static_cast<double>(begun) * 1000 / options.rate - milliseconds(test::steady_now() - start);
    if (begun < options.count && due <= 0) {
      const Target* own = from.empty() ? nullptr : &from[begun % from.size()];
      running.push_back(std::make_unique<TimedKnock>(target, own, options.plan, *knockers[begun % knockers.size()], random));
      ++begun;
      continue;
    }
    step(running, begun < options.count ? due : 1000);
    std::erase_if(running, [&](const auto& knock) {
      if (knock->done()) outcomes.push_back(knock->outcome());
      return knock->done();
    });
  }
  return outcomes;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return -1;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

void report(const Options& options, const std::vector<Outcome>& outcomes) {
  std::vector<double> synacks;
  std::vector<double> opens;
  for (const auto& outcome : outcomes) {
    if (outcome.synack_ms >= 0) synacks.push_back(outcome.synack_ms);
    if (outcome.open_ms >= 0) opens.push_back(outcome.open_ms);
  }
  std::printf("knocks %zu opened %zu synack p50 %.3f p99 %.3f ms open p50 %.3f p99 %.3f max %.3f ms\n", outcomes.size(),
              opens.size(), percentile(synacks, 0.5), percentile(synacks, 0.99), percentile(opens, 0.5),
              percentile(opens, 0.99), percentile(opens, 1));
  if (options.log.empty()) return;
  FILE* file = std::fopen(options.log.c_str(), "w");
  if (file == nullptr) die("cannot write " + options.log);
  for (const auto& each : outcomes) std::fprintf(file, "%.6f %.3f %.3f\n", each.start, each.synack_ms, each.open_ms);
  std::fclose(file);
}

// Datagrams that nobody has sent yet.
void save(const Options& options, const Knockers& knockers) {
  FILE* file = std::fopen(options.save.c_str(), "wb");
  if (file == nullptr) die("cannot write " + options.save);
  for (std::size_t count = 0; count < options.count; ++count) {
    auto& knocker = *knockers[count % knockers.size()];
    const ByteBuffer datagram = knocker.make_udp_knock(test::system_now(), knocker.next_knock_id());
    std::fputc(static_cast<int>(datagram.size() >> 8), file);
    std::fputc(static_cast<int>(datagram.size() & 255), file);
    std::fwrite(datagram.data(), 1, datagram.size(), file);
  }
  std::fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  SystemRandom random;
  Knockers knockers;
  for (const auto& path : options.keys) {
    knockers.push_back(test::read_knocker(path, random));
    if (!knockers.back()) die("no keys in " + path);
  }
  if (!options.save.empty()) {
    save(options, knockers);
    return 0;
  }
  report(options, run(options, knockers, random));
  return 0;
}
