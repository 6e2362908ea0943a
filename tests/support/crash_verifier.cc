// SPDX-License-Identifier: Apache-2.0
// A verifier with its journal as a process that is killed, again and again, while knocks and copies of knocks come in.
//
//   crash_verifier KILLS DAMAGES
//
// First KILLS times: SIGKILL at a random moment under load, start again, send everything of before once more. Then DAMAGES
// times: the same, and the journal is flipped, cut, swapped, set back to an older copy or deleted in between. What was
// accepted is counted in memory that both processes share. Prints `name value unit` lines; status 1 when a copy passed.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <natt/spa/mapped_journal.h>

#include "support/seeded_random.h"

using namespace natt;
using namespace natt::spa;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t kDevices = 64;
constexpr std::size_t kMaxFrames = 4'000'000;
// On any machine 200 runs stay below what a verifier with so few devices remembers of one slot: more it refuses.
constexpr int kKnocksPerRun = 400;
constexpr std::uint16_t kPort = 443;
const Identity kBroker{"hq", Role::kBroker, "b1"};

// Both processes see it; it outlives every kill.
struct Ledger {
  std::atomic<std::uint32_t> state{};     // ReplayState of the last start
  std::atomic<std::uint32_t> restored{};
  std::atomic<std::uint64_t> handled{};   // frames judged, all starts
  std::atomic<double> start_cpu_ms{};     // processor time of the last start, up to its first grant
  std::array<std::atomic<std::uint8_t>, kMaxFrames> grants{};
};

struct Message {
  std::uint32_t id = 0;
  Transport transport = Transport::kUdp;
  Frame frame{};
};

Identity device(std::size_t i) { return {"hq", Role::kClient, "d" + std::to_string(i)}; }

// The same on both sides; a new seed is a new verifier.
struct Keys {
  explicit Keys(std::uint64_t seed) : random(seed), broker(KeyPair::generate(random)) {
    for (std::size_t i = 0; i < kDevices; ++i) devices.push_back(KeyPair::generate(random));
  }
  test::SeededRandom random;
  KeyPair broker;
  SitePsk psk{random.bytes<32>()};
  MaskKey mask{random.bytes<16>()};
  std::vector<KeyPair> devices;
};

[[noreturn]] void die(const char* why) {
  std::perror(why);
  std::exit(2);
}

Instant monotonic() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }

double cpu_ms() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

// --- the process that is killed ------------------------------------------------------------

[[noreturn]] void serve(int socket, Ledger& ledger, const std::filesystem::path& path, std::uint64_t seed) {
  Keys keys(seed);
  SystemRandom random;
  const SystemHostClock host;
  // The first start of new keys: later ones find a journal.
  auto journal = MappedJournal::open({.path = path,
                                      .verifier = DeviceId::of(kBroker),
                                      .records_per_slot = 200'000,
                                      .keys_made = host.read().wall},
                                     host, random);
  if (!journal) die("journal");
  VerifierOptions options{.identity = kBroker, .psk = keys.psk, .mask = keys.mask,
                          .client_budget = {.per_second = 1'000'000, .burst = 1'000'000},
                          .client_nonces_per_slot = 1'000'000};
  options.keys.push_back(KeyPair::from_secret(keys.broker.secret()));
  (*journal)->brief(options, monotonic());
  Verifier verifier(std::move(options), random);
  for (std::size_t i = 0; i < kDevices; ++i) {
    const DeviceKey key{1, keys.devices[i].public_key()};
    if (!verifier.put_device(device(i), {&key, 1})) std::abort();
  }
  (*journal)->restore(verifier, host.read().wall);
  ledger.state = static_cast<std::uint32_t>((*journal)->status().state);
  ledger.restored = static_cast<std::uint32_t>((*journal)->status().restored);
  verifier.handle_timeout(monotonic(), host.read().wall);
  Instant tick = monotonic();
  for (Message message; ::recv(socket, &message, sizeof message, 0) == sizeof message;) {
    const Instant now = monotonic();
    const WallTime wall = host.read().wall;
    if (now - tick >= std::chrono::seconds(1)) {
      verifier.handle_timeout(now, wall);
      (*journal)->handle_timeout();
      tick = now;
    }
    const auto grant = verifier.verify(now, wall, message.transport, message.frame, {.port = kPort});
    if (grant && ledger.start_cpu_ms == 0) ledger.start_cpu_ms = cpu_ms();
    if (grant) ++ledger.grants[message.id];
    ++ledger.handled;
  }
  ::_exit(0);
}

// --- the one that kills ----------------------------------------------------------------------

class Proof {
 public:
  Proof() : random_(test::test_seed()), ledger_(share()) {
    std::string name = (std::filesystem::temp_directory_path() / "natt-crash-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) die("mkdtemp");
    folder_ = name;
    renew();
  }
  ~Proof() { std::filesystem::remove_all(folder_); }
  Proof(const Proof&) = delete;
  Proof& operator=(const Proof&) = delete;

  void kill_often(int kills) {
    start(true);
    for (int i = 0; i < kills; ++i) {
      load(milliseconds(20 + random_.uniform(100)));
      stop();
      start(true);
      if (state() != ReplayState::kComplete) ++incomplete_;
      copies(4000);
    }
    stop();
    report("crash");
    std::sort(service_ms_.begin(), service_ms_.end());
    std::printf("crash_incomplete_journals %d\n", incomplete_);
    std::printf("crash_service_back_p50 %.1f ms\n", service_ms_[service_ms_.size() / 2]);
    std::printf("crash_service_back_max %.1f ms\n", service_ms_.back());
    std::sort(cpu_ms_.begin(), cpu_ms_.end());
    std::printf("crash_service_back_cpu_p50 %.1f ms\n", cpu_ms_[cpu_ms_.size() / 2]);
    std::printf("crash_service_back_cpu_max %.1f ms\n", cpu_ms_.back());
  }

  void damage_often(int damages) {
    std::map<std::string, std::map<std::string, int>> found;
    for (int i = 0; i < damages; ++i) {
      renew();
      start(true);
      load(milliseconds(10));
      const auto backup = folder_ / "backup";
      std::filesystem::copy_file(path_, backup);
      load(milliseconds(20));
      stop();
      const std::string how = damage(i, backup);
      start(false);
      copies(frames_.size() - first_);
      wait_for_queue();
      ++found[how][std::string(to_string(state()))];
      stop();
    }
    report("damage");
    for (const auto& [how, states] : found) {
      for (const auto& [state, count] : states) std::printf("damage_%s_%s %d\n", how.c_str(), state.c_str(), count);
    }
  }

  [[nodiscard]] bool clean() const { return accepted_again_ == 0; }

 private:
  static Ledger& share() {
    void* memory = ::mmap(nullptr, sizeof(Ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("mmap");
    return *new (memory) Ledger;
  }

  [[nodiscard]] ReplayState state() const { return static_cast<ReplayState>(ledger_.state.load()); }

  // Another verifier: keys that never served.
  void renew() {
    seed_ = random_.next_u64();
    path_ = folder_ / ("replay-" + std::to_string(seed_) + ".journal");
    keys_ = std::make_unique<Keys>(seed_);
    pairs_.clear();
    for (std::size_t i = 0; i < kDevices; ++i) {
      pairs_.push_back(*PairKey::derive(keys_->devices[i], keys_->broker.public_key(), DeviceId::of(device(i)),
                                        DeviceId::of(kBroker), keys_->psk));
    }
    slot_keys_.clear();
    first_ = frames_.size();
  }

  // `served`: waits for the first knock that passes, and notes how long that took since the start of the process.
  void start(bool served) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) die("socketpair");
    const auto begin = std::chrono::steady_clock::now();
    const auto first_id = static_cast<std::uint32_t>(frames_.size());
    std::fflush(stdout);
    ledger_.start_cpu_ms = 0;
    process_ = ::fork();
    if (process_ < 0) die("fork");
    if (process_ == 0) {
      ::close(ends[0]);
      serve(ends[1], ledger_, path_, seed_);
    }
    ::close(ends[1]);
    socket_ = ends[0];
    if (!served) return;
    // Where there is no journal, what was made before the start is refused: so a new one every millisecond.
    for (bool open = false; !open;) {
      if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(10)) die("not served within 10 s");
      const std::uint32_t id = knock(host_.read().wall);
      std::this_thread::sleep_for(milliseconds(1));
      for (std::uint32_t back = 0; back < 200 && back <= id - first_id; ++back) {
        open = open || ledger_.grants[id - back] != 0;
      }
    }
    cpu_ms_.push_back(ledger_.start_cpu_ms);
    service_ms_.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }

  void stop() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
      process_ = -1;
    }
    ::close(socket_);
  }

  // One fresh knock, and three copies of recent ones.
  void load(milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    for (int i = 0; i < kKnocksPerRun && std::chrono::steady_clock::now() < end; ++i) {
      // Clocks of devices differ: up to a minute ahead is what makes a restart dangerous.
      knock(host_.read().wall + milliseconds(random_.uniform(100'000)) - milliseconds(50'000));
      copies(3);
    }
  }

  std::uint32_t knock(WallTime stamp) {
    if (frames_.size() >= kMaxFrames) die("out of frames");
    const auto id = static_cast<std::uint32_t>(frames_.size());
    const std::size_t from = id % kDevices;
    const Transport transport = id % 3 == 0 ? Transport::kTcp : id % 3 == 1 ? Transport::kDns : Transport::kUdp;
    const FrameBody body{.key_generation = 1, .timestamp = stamp, .knock_id = static_cast<std::uint16_t>(id)};
    auto known = slot_keys_.find({from, Slot::of(stamp).number});
    if (known == slot_keys_.end()) {
      known = slot_keys_.emplace(std::pair{from, Slot::of(stamp).number}, SlotKeys::derive(pairs_[from], Slot::of(stamp)))
                  .first;
    }
    const FrameContext context{transport, DeviceId::of(kBroker), kPort, {}};
    frames_.push_back({id, transport, seal_frame(known->second, keys_->mask, context, body, random_.bytes<kNonceSize>())});
    send(frames_.back());
    return id;
  }

  // Of this verifier's frames, the newest mostly.
  void copies(std::size_t count) {
    const std::size_t all = frames_.size() - first_;
    for (std::size_t i = 0; i < count && all != 0; ++i) {
      const std::size_t reach = count > 100 ? std::min(all, count) : std::min<std::size_t>(all, 20'000);
      const std::size_t back = count > 100 ? i % reach : random_.uniform(reach);
      const Message& message = frames_[frames_.size() - 1 - back];
      if (ledger_.grants[message.id] == 0) continue;
      send(message);
      ++copies_;
    }
  }

  void send(const Message& message) {
    if (::send(socket_, &message, sizeof message, MSG_NOSIGNAL) != sizeof message) die("send");
    ++sent_;
  }

  void wait_for_queue() {
    const std::uint64_t before = ledger_.handled;
    ::shutdown(socket_, SHUT_WR);
    // The child ends when it has read everything.
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
    if (ledger_.handled == before && copies_ == 0) die("nothing was handled");
  }

  std::string damage(int round, const std::filesystem::path& backup) {
    const auto size = static_cast<std::size_t>(std::filesystem::file_size(path_));
    std::string how;
    switch (round % 7) {
      case 0: how = "flipped"; overwrite(random_.uniform(4096), 1 + random_.uniform(8)); break;
      case 1: how = "record_flipped"; overwrite(4096 + random_.uniform(20'000), 1); break;
      case 2: how = "cut"; std::filesystem::resize_file(path_, random_.uniform(size)); break;
      case 3: how = "deleted"; std::filesystem::remove(path_); break;
      case 4: how = "older_copy"; std::filesystem::rename(backup, path_); break;
      case 5: how = "random_page"; overwrite(4096 * random_.uniform(4), 4096); break;
      default:
        how = "older_copy_in_place";
        std::this_thread::sleep_for(milliseconds(1300));
        std::filesystem::copy_file(backup, path_, std::filesystem::copy_options::overwrite_existing);
    }
    std::filesystem::remove(backup);
    return how;
  }

  void overwrite(std::size_t at, std::size_t count) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    for (std::size_t i = 0; i < count; ++i) {
      file.seekg(static_cast<std::streamoff>(at + i));
      const int old = file.get();
      file.seekp(static_cast<std::streamoff>(at + i));
      file.put(static_cast<char>(old ^ static_cast<int>(1 + random_.uniform(255))));
    }
  }

  void report(const char* phase) {
    std::uint64_t granted = 0;
    std::uint64_t again = 0;
    for (std::size_t i = reported_; i < frames_.size(); ++i) {
      granted += ledger_.grants[i] != 0 ? 1u : 0u;
      again += ledger_.grants[i] > 1 ? 1u : 0u;
    }
    accepted_again_ += again;
    std::printf("%s_knocks %zu\n%s_knocks_granted %llu\n%s_copies %llu\n%s_copies_granted %llu\n", phase,
                frames_.size() - reported_, phase, static_cast<unsigned long long>(granted), phase,
                static_cast<unsigned long long>(copies_), phase, static_cast<unsigned long long>(again));
    reported_ = frames_.size();
    copies_ = 0;
  }

  test::SeededRandom random_;
  SystemHostClock host_;
  Ledger& ledger_;
  std::filesystem::path folder_;
  std::filesystem::path path_;
  std::uint64_t seed_ = 0;
  std::unique_ptr<Keys> keys_;
  std::vector<PairKey> pairs_;
  std::map<std::pair<std::size_t, std::uint64_t>, SlotKeys> slot_keys_;
  std::vector<Message> frames_;  // by id
  std::size_t first_ = 0;        // of this verifier
  std::size_t reported_ = 0;
  pid_t process_ = -1;
  int socket_ = -1;
  std::vector<double> service_ms_;
  std::vector<double> cpu_ms_;
  std::uint64_t sent_ = 0;
  std::uint64_t copies_ = 0;
  std::uint64_t accepted_again_ = 0;
  int incomplete_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const int kills = argc > 1 ? std::atoi(argv[1]) : 200;
  const int damages = argc > 2 ? std::atoi(argv[2]) : 70;
  Proof proof;
  if (kills > 0) proof.kill_often(kills);
  if (damages > 0) proof.damage_often(damages);
  return proof.clean() ? 0 : 1;
}
