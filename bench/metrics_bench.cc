// SPDX-License-Identifier: Apache-2.0
// What a scrape of /metrics costs a broker's loop, with 100,000 devices enrolled: the real
// program, asked over loopback, by its own word (natt_metrics_last_page_seconds) and from outside.
//
//   metrics_bench BROKER
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "harness.h"

#include <natt/authority.h>
#include <natt/spa/keys.h>

#include "apps/nattctl/site_commands.h"

using namespace natt;
namespace fs = std::filesystem;

namespace {

constexpr int kDevices = 100'000;
constexpr int kScrapes = 200;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "metrics_bench: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
T take(Result<T> result) {
  if (!result) die(result.error().message);
  return std::move(*result);
}

std::string content_of(const fs::path& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// A folder of this bench alone, gone with it.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "natt-metrics-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) die("no temporary folder");
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

// The whole answer; empty when nobody listens.
std::string scrape(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = loopback(port);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    constexpr std::string_view kRequest = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    static_cast<void>(::send(fd, kRequest.data(), kRequest.size(), 0));
    char chunk[65536];
    for (ssize_t got = 0; (got = ::recv(fd, chunk, sizeof chunk, 0)) > 0;) {
      answer.append(chunk, static_cast<std::size_t>(got));
    }
  }
  ::close(fd);
  return answer;
}

double value_of(const std::string& page, const std::string& sample) {
  const std::size_t at = page.find("\n" + sample + " ");
  return at == std::string::npos ? -1 : std::strtod(page.c_str() + at + sample.size() + 2, nullptr);
}

// broker.toml, and beside it a roster of many.
void make_site(const fs::path& folder, std::uint16_t port, std::uint16_t metrics_port) {
  ctl::InitArguments arguments;
  arguments.dir = folder / "site";
  arguments.site = "hq";
  arguments.broker_address = "127.0.0.1:" + std::to_string(port);
  arguments.broker_dns_port = 0;
  arguments.gateways = {"gw1"};
  arguments.clients = {"alice"};
  static_cast<void>(take(ctl::run_init(arguments)));
  SystemRandom random;
  const auto authority = take(Authority::from_pem(content_of(folder / "site/ca.key"), random));
  const std::string bytes = content_of(folder / "site/roster");
  const auto documents = take(SignedRoster::parse({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}));
  Roster roster = take(parse_roster(documents.full, RosterView::kFull, authority->certificate()));
  const auto keys = spa::KeyPair::generate(random);
  for (int i = 0; i < kDevices - 2; ++i) {
    roster.devices.push_back({.identity = {"hq", Role::kClient, "device-" + std::to_string(i)},
                              .spa_keys = {{1, keys.public_key().bytes}},
                              .mask_key = {},
                              .addresses = {}});
  }
  ++roster.number;
  const ByteBuffer many = take(authority->sign_roster(roster)).serialize();
  std::ofstream(folder / "site/roster")
      .write(reinterpret_cast<const char*>(many.data()), static_cast<std::streamsize>(many.size()));
  const std::string file = content_of(folder / "site/broker.toml");
  std::ofstream(folder / "site/broker.toml")
      << "[metrics]\nlisten = \"127.0.0.1:" << metrics_port << "\"\n[log]\nlevel = \"warning\"\n"
      << file;
}

void measure(std::uint16_t port) {
  std::vector<double> inside;
  std::vector<double> outside;
  std::string page;
  for (int i = 0; i < kScrapes; ++i) {
    const auto start = std::chrono::steady_clock::now();
    page = scrape(port);
    outside.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    if (i > 0) inside.push_back(value_of(page, "natt_metrics_last_page_seconds") * 1e6);
  }
  std::sort(inside.begin(), inside.end());
  std::sort(outside.begin(), outside.end());
  bench::print("metrics.devices", value_of(page, "natt_spa_devices{site=\"hq\"}"), "devices");
  bench::print("metrics.page_size", static_cast<double>(page.size()), "octets");
  bench::print("metrics.page_p50", inside[inside.size() / 2], "us");
  bench::print("metrics.page_p99", inside[inside.size() * 99 / 100], "us");
  bench::print("metrics.page_max", inside.back(), "us");
  bench::print("metrics.request_p50", outside[outside.size() / 2], "us");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) die("usage: metrics_bench BROKER");
  const Folder folder;
  const std::uint16_t port = free_port();
  make_site(folder.path, free_port(), port);
  const std::string config = (folder.path / "site/broker.toml").string();
  const pid_t broker = ::fork();
  if (broker == 0) {
    ::execl(argv[1], argv[1], "--config", config.c_str(), nullptr);
    ::_exit(127);
  }
  bool ready = false;
  for (int i = 0; i < 600 && !ready; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ready = value_of(scrape(port), "natt_spa_devices{site=\"hq\"}") == kDevices;
  }
  if (ready) measure(port);
  ::kill(broker, SIGTERM);
  ::waitpid(broker, nullptr, 0);
  if (!ready) std::fprintf(stderr, "metrics_bench: the broker did not load its devices\n");
  return ready ? 0 : 1;
}
