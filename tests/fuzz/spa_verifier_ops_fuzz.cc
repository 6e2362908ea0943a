// SPDX-License-Identifier: Apache-2.0
// Structured: the input chooses operations on a verifier with four devices, in virtual
// time: knock over UDP, over DNS in letters of any case and with an Initial, replay, damage,
// move to another carrier or connection, let time pass, set the clock, enroll, renew,
// revoke; and, in inputs of an odd size, on its journal: restart, stay away, lose or spoil
// the file. Invariants: no frame is granted twice (but for Initials repeated from their own
// source), nothing is granted to a device that is not enrolled, a damaged or moved frame is
// never granted, and what is granted was plausible.
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include <natt/spa/dns_carrier.h>
#include <natt/spa/knocker.h>
#include <natt/spa/mapped_journal.h>
#include <natt/spa/udp_carrier.h>
#include <natt/spa/verifier.h>
#include <tests/support/seeded_random.h>
#include <tests/unit/spa/host_clock_double.h>

using namespace natt;
using namespace natt::spa;

namespace {

constexpr std::size_t kDevices = 4;
const Identity kBroker{"hq", Role::kBroker, "b1"};

// A frame as it was sent; connection ids for Initials only.
struct Sent {
  Frame frame{};
  Transport transport = Transport::kUdp;
  std::array<std::uint8_t, 8> dcid{};
  std::uint16_t from = 0;
};

struct World {
  test::SeededRandom random{1};
  KeyPair broker_keys = KeyPair::generate(random);
  SitePsk psk{random.bytes<32>()};
  MaskKey mask{random.bytes<16>()};
  Instant now{std::chrono::hours(1)};
  // 2039: later than the clock of the file system that holds the journal.
  test::HostClockDouble host{WallTime(std::chrono::seconds(64LL * 34'500'000))};
  WallTime wall = host.time.wall;
  std::filesystem::path folder;  // empty: no journal
  std::unique_ptr<MappedJournal> journal;
  // The file was lost: what was accepted before may be again when the clock is set back to then.
  bool forgetful = false;
  std::vector<KeyPair> keys;
  std::vector<std::unique_ptr<Knocker>> knockers;
  std::unique_ptr<Verifier> verifier;
  std::array<bool, kDevices> enrolled{};
  std::vector<Sent> sent;
  std::set<Frame> granted;
  std::map<Frame, std::uint16_t> owners;  // where an Initial was granted first

  static Identity device(std::size_t i) {
    return {"hq", i == 3 ? Role::kGateway : Role::kClient, "d" + std::to_string(i)};
  }

  explicit World(bool journaled) {
    if (journaled) {
      std::string name = (std::filesystem::temp_directory_path() / "natt-fuzz-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) std::abort();
      folder = name;
    }
    start();
    for (std::size_t i = 0; i < kDevices; ++i) {
      keys.push_back(KeyPair::generate(random));
      const auto pair =
          PairKey::derive(keys[i], broker_keys.public_key(), DeviceId::of(device(i)), DeviceId::of(kBroker), psk);
      const KnockerOptions made{.device = device(i), .verifier = kBroker, .mask = mask, .key_generation = 1};
      knockers.push_back(std::make_unique<Knocker>(made, *pair, random));
    }
  }
  ~World() {
    std::error_code ignored;
    if (!folder.empty()) std::filesystem::remove_all(folder, ignored);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] std::filesystem::path path() const { return folder / "journal"; }

  void start() {
    verifier.reset();
    journal.reset();
    VerifierOptions options{.identity = kBroker, .psk = psk, .mask = mask, .client_nonces_per_slot = 64};
    options.keys.push_back(KeyPair::from_secret(broker_keys.secret()));
    wall = host.time.wall;
    if (!folder.empty()) {
      const MappedJournalOptions made{.path = path(), .verifier = DeviceId::of(kBroker), .records_per_slot = 48};
      journal = std::move(*MappedJournal::open(made, host, random));
      journal->brief(options, now);
    }
    verifier = std::make_unique<Verifier>(std::move(options), random);
    if (journal) journal->restore(*verifier, wall);
    for (std::size_t i = 0; i < kDevices; ++i) {
      if (enrolled[i]) put(i, false);
    }
    verifier->handle_timeout(now, wall);
  }

  void restart(std::chrono::seconds away) {
    if (folder.empty()) return;
    verifier.reset();
    journal.reset();
    now += away;
    host.pass(away);
    start();
  }

  void lose(std::uint8_t how) {
    if (folder.empty()) return;
    verifier.reset();
    journal.reset();
    forgetful = true;
    if (how == 0) {
      std::filesystem::remove(path());
    } else {
      std::filesystem::resize_file(path(), how * 64);
    }
    start();
  }

  void tick() {
    if (forgetful && host.time.wall < wall) granted.clear();
    wall = host.time.wall;
    verifier->handle_timeout(now, wall);
    if (journal) journal->handle_timeout();
  }

  static SocketAddress source(const Sent& knock) { return {IpAddress::v4({192, 0, 2, 7}), knock.from}; }

  std::optional<Grant> verdict(const Sent& knock) {
    if (knock.transport != Transport::kQuicToken) {
      return verifier->verify(now, wall, knock.transport, knock.frame, {.port = 443});
    }
    const QuicInitial initial{kQuicVersion1, knock.dcid, {}, knock.frame};
    const bool plausible = verifier->plausible_initial(now, initial, source(knock));
    const auto grant = verifier->verify_initial(now, wall, initial, source(knock));
    if (grant && !plausible) std::abort();
    return grant;
  }

  void submit(const Sent& knock, bool altered) {
    const auto grant = verdict(knock);
    if (!grant) return;
    if (altered || grant->transport != knock.transport) std::abort();
    if (grant->novelty == Novelty::kRetransmit) {
      if (knock.transport != Transport::kQuicToken || owners[knock.frame] != knock.from) std::abort();
    } else if (!granted.insert(knock.frame).second) {
      std::abort();
    }
    owners[knock.frame] = knock.from;
    for (std::size_t i = 0; i < kDevices; ++i) {
      if (*grant->identity == device(i) && !enrolled[i]) std::abort();
    }
  }

  void knock(std::size_t i, int skew) {
    const auto datagram = knockers[i]->make_udp_knock(wall + std::chrono::seconds(skew), knockers[i]->next_knock_id());
    sent.push_back({*parse_udp_carrier(datagram), Transport::kUdp, {}, 0});
    submit(sent.back(), false);
  }

  // One logical knock on both ports; the query comes with its letters in another case, bit by bit of `cases`.
  void knock_over_dns(std::size_t i, std::uint8_t cases) {
    const KnockId id = knockers[i]->next_knock_id();
    if (cases % 2 == 1) {
      sent.push_back({*parse_udp_carrier(knockers[i]->make_udp_knock(wall, id)), Transport::kUdp, {}, 0});
      submit(sent.back(), false);
    }
    ByteBuffer query = knockers[i]->make_dns_knock(wall, id);
    for (std::size_t at = 12; at < 119; ++at) {
      if ((cases >> (at % 8) & 1) != 0) query[at] = static_cast<std::uint8_t>(std::toupper(query[at]));
    }
    sent.push_back({*parse_dns_carrier(query, DnsSuffix()), Transport::kDns, {}, 0});
    submit(sent.back(), false);
  }

  void initial(std::size_t i, std::uint8_t argument) {
    Sent made{{}, Transport::kQuicToken, {}, static_cast<std::uint16_t>(1000 + argument % 4)};
    made.dcid[0] = argument;
    made.frame = knockers[i]->make_quic_token(wall, knockers[i]->next_knock_id(), made.dcid, {});
    sent.push_back(made);
    submit(made, false);
  }

  // Off to another carrier, another connection, or another source: the last is for Initials alone, whose first copy may
  // come from anywhere.
  void move(Sent copy, std::uint8_t how) {
    const bool quic = copy.transport == Transport::kQuicToken;
    switch (how % 3) {
      case 0: copy.transport = copy.transport == Transport::kUdp ? Transport::kDns : Transport::kUdp; break;
      case 1:
        if (!quic) copy.transport = Transport::kQuicToken;
        copy.dcid[7] ^= static_cast<std::uint8_t>(1 + how);
        break;
      default:
        if (!quic) return;
        copy.from = static_cast<std::uint16_t>(copy.from + 4 + how);
        return submit(copy, false);  // and is granted as the repeat of one that came from there, or never
    }
    submit(copy, true);
  }

  void put(std::size_t i, bool renewed) {
    const std::array<DeviceKey, 2> both{DeviceKey{1, keys[i].public_key()},
                                        DeviceKey{2, keys[(i + 1) % kDevices].public_key()}};
    if (verifier->put_device(device(i), std::span(both).first(renewed ? 2 : 1))) enrolled[i] = true;
  }

  void remove(std::size_t i) {
    if (verifier->remove_device(device(i)) != enrolled[i]) std::abort();
    enrolled[i] = false;
  }

  void pass(Duration by) {
    now += by;
    host.pass(by);
    tick();
  }

  void set_clock(int seconds) {
    host.set(std::max(host.time.wall + std::chrono::seconds(seconds), WallTime(std::chrono::hours(1))));
    tick();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world(size % 2 == 1);
  const std::size_t operations = std::min<std::size_t>(size / 2, 500);
  for (std::size_t at = 0; at < operations; ++at) {
    const std::uint8_t operation = data[2 * at];
    const std::uint8_t argument = data[2 * at + 1];
    const std::size_t device = operation / 16 % kDevices;
    const auto signed_argument = static_cast<std::int8_t>(argument);
    switch (operation % 16) {
      case 0: world.put(device, argument % 2 == 1); break;
      case 1: world.remove(device); break;
      case 2: world.knock(device, signed_argument); break;
      case 3: world.knock(device, 0); break;
      case 4: world.pass(std::chrono::milliseconds(10 * argument)); break;
      case 5: world.pass(std::chrono::seconds(argument)); break;
      case 6: world.set_clock(signed_argument * 8); break;
      case 7: world.set_clock(signed_argument * 100'000); break;
      case 8: world.restart(std::chrono::seconds(argument % 32)); break;
      case 9: world.restart(std::chrono::seconds(argument)); break;
      case 10: world.lose(argument); break;
      case 13: world.knock_over_dns(device, argument); break;
      case 14: world.initial(device, argument); break;
      default:
        if (world.sent.empty()) break;
        Sent copy = world.sent[argument % world.sent.size()];
        if (operation % 16 == 15) {
          world.move(copy, static_cast<std::uint8_t>(operation / 16));
          break;
        }
        const bool damaged = operation % 16 == 12;
        if (damaged) copy.frame[argument % kFrameSize] ^= static_cast<std::uint8_t>(1 + operation / 16);
        world.submit(copy, damaged);
    }
    while (world.verifier->poll_event()) {
    }
  }
  return 0;
}
