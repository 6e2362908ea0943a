// SPDX-License-Identifier: Apache-2.0
#include "gate/gate_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include <natt/spa/errc.h>

namespace natt::spa::gate {
namespace {

// In the order of GateSocket.
constexpr std::array<const char*, kGateSocketCount> kPrograms{"gate_broker_udp", "gate_broker_dns", "gate_tunnel_udp",
                                                              "gate_tcp_syn", "gate_tcp_ip"};

static_assert(kGateVerdictCount == GATE_VERDICTS);
static_assert(static_cast<int>(GateVerdict::kKnock) == GATE_KNOCK);
static_assert(static_cast<int>(GateVerdict::kInitial) == GATE_INITIAL);
static_assert(static_cast<int>(GateVerdict::kConnectionId) == GATE_CONNECTION_ID);
static_assert(static_cast<int>(GateVerdict::kStun) == GATE_STUN);
static_assert(static_cast<int>(GateVerdict::kRelay) == GATE_RELAY);
static_assert(static_cast<int>(GateVerdict::kSyn) == GATE_SYN);
static_assert(static_cast<int>(GateVerdict::kSource) == GATE_SOURCE);
static_assert(static_cast<int>(GateVerdict::kFlow) == GATE_FLOW);
static_assert(static_cast<int>(GateVerdict::kDnsAnswer) == GATE_DNS_ANSWER);
static_assert(static_cast<int>(GateVerdict::kUnchecked) == GATE_UNCHECKED);
static_assert(static_cast<int>(GateVerdict::kNoShape) == GATE_NO_SHAPE);
static_assert(static_cast<int>(GateVerdict::kUnknownHint) == GATE_UNKNOWN_HINT);
static_assert(static_cast<int>(GateVerdict::kBadPrefilter) == GATE_BAD_PREFILTER);
static_assert(static_cast<int>(GateVerdict::kCopy) == GATE_COPY);
static_assert(static_cast<int>(GateVerdict::kForeignId) == GATE_FOREIGN_ID);
static_assert(static_cast<int>(GateVerdict::kBadStunTag) == GATE_BAD_STUN_TAG);
static_assert(static_cast<int>(GateVerdict::kBadRelay) == GATE_BAD_RELAY);
static_assert(static_cast<int>(GateVerdict::kBareSyn) == GATE_BARE_SYN);
static_assert(static_cast<int>(GateVerdict::kSynBudget) == GATE_SYN_BUDGET);
static_assert(static_cast<int>(GateVerdict::kStray) == GATE_STRAY);

// libbpf prints what it could not do; that is for our caller to say, in one sentence. The setting is the process's:
// what it was before comes back.
class QuietLibbpf {
 public:
  QuietLibbpf() : before_(libbpf_set_print(nullptr)) {}
  ~QuietLibbpf() { libbpf_set_print(before_); }
  QuietLibbpf(const QuietLibbpf&) = delete;
  QuietLibbpf& operator=(const QuietLibbpf&) = delete;

 private:
  libbpf_print_fn_t before_;
};

tl::unexpected<Error> unavailable(int error) {
  const std::string said = std::generic_category().message(error);
  if (error == EPERM || error == EACCES) {
    return fail(Errc::kUnavailable, "the kernel gate needs CAP_BPF, outside of user namespaces: bpf() says " + said);
  }
  if (error == ENOSYS) return fail(Errc::kUnavailable, "this kernel has no bpf(): " + said);
  return fail(Errc::kUnavailable, "the kernel does not take the gate's programs: " + said);
}

// The maps of which every generation of a gate has its own.
constexpr std::array<const char*, 3> kOwnMaps{"gate_hints", "gate_filter", "gate_config"};

struct MapSize {
  const char* name;
  std::size_t entries;
};

int set_sizes(bpf_object* object, std::span<const MapSize> sizes) {
  for (const auto& [name, entries] : sizes) {
    bpf_map* map = bpf_object__find_map_by_name(object, name);
    if (map == nullptr) return -ENOENT;
    if (const int error = bpf_map__set_max_entries(map, static_cast<std::uint32_t>(entries)); error != 0) return error;
  }
  return 0;
}

int reuse_maps(bpf_object* object, const bpf_object* former) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    const std::string_view name = bpf_map__name(map);
    if (std::find(kOwnMaps.begin(), kOwnMaps.end(), name) != kOwnMaps.end()) continue;
    const bpf_map* kept = bpf_object__find_map_by_name(former, bpf_map__name(map));
    if (kept == nullptr) return -ENOENT;
    if (const int error = bpf_map__reuse_fd(map, bpf_map__fd(kept)); error != 0) return error;
  }
  return 0;
}

// Elements of these maps exist for good and writing one cannot fail; in an LRU map the oldest makes room.
template <typename Key, typename Value>
void put(int map, const Key& key, const Value& value) {
  static_cast<void>(bpf_map_update_elem(map, &key, &value, BPF_ANY));
}

}  // namespace

Result<std::unique_ptr<GateObject>> GateObject::load(std::span<const GateSocket> kinds, const Sizes& sizes,
                                                     const GateObject* former) {
  const QuietLibbpf quiet;
  const auto file = program_file();
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = "natt_gate";
  bpf_object* object = bpf_object__open_mem(file.data(), file.size(), &options);
  if (object == nullptr) return unavailable(errno);
  std::unique_ptr<GateObject> loaded(new GateObject(object));
  if (const int error = loaded->prepare(kinds, sizes, former); error != 0) return unavailable(-error);
  if (const int error = bpf_object__load(object); error != 0) return unavailable(-error);
  if (auto found = loaded->find_descriptors(); !found) return tl::unexpected(found.error());
  return loaded;
}

int GateObject::prepare(std::span<const GateSocket> kinds, const Sizes& sizes, const GateObject* former) {
  for (std::size_t i = 0; i < kPrograms.size(); ++i) {
    bpf_program* program = bpf_object__find_program_by_name(object_, kPrograms[i]);
    if (program == nullptr) return -ENOENT;
    // The kernel proves each program it is given: most of what opening a gate costs.
    const bool wanted = std::find(kinds.begin(), kinds.end(), static_cast<GateSocket>(i)) != kinds.end();
    if (const int error = bpf_program__set_autoload(program, wanted); error != 0) return error;
  }
  const bool tunnel = std::find(kinds.begin(), kinds.end(), GateSocket::kTunnelUdp) != kinds.end();
  const bool tcp = std::any_of(kinds.begin(), kinds.end(), [](GateSocket kind) {
    return kind == GateSocket::kTcpSyn || kind == GateSocket::kTcpIp;
  });
  const std::size_t segments = tcp ? sizes.remembered : 1;
  const std::array<MapSize, 8> all{{{"gate_hints", sizes.places},
                                    {"gate_filter", sizes.places * GATE_FILTER_BITS_PER_PLACE / 64},
                                    {"gate_copies", sizes.remembered},
                                    {"gate_owners", segments},
                                    {"gate_flows", segments},
                                    {"gate_sources", segments},
                                    {"gate_awaited", tunnel ? sizes.awaited : 1},
                                    {"gate_answerers", tunnel ? std::size_t{GATE_MAX_ANSWERERS} : 1}}};
  if (former == nullptr) return set_sizes(object_, all);
  const int error = reuse_maps(object_, former->object_);
  return error != 0 ? error : set_sizes(object_, std::span(all).first(2));
}

GateObject::~GateObject() { bpf_object__close(object_); }

int GateObject::map(const char* name) const {
  const bpf_map* found = bpf_object__find_map_by_name(object_, name);
  return found == nullptr ? -1 : bpf_map__fd(found);
}

Result<void> GateObject::find_descriptors() {
  for (std::size_t i = 0; i < kPrograms.size(); ++i) {
    const bpf_program* program = bpf_object__find_program_by_name(object_, kPrograms[i]);
    programs_[i] = program == nullptr || !bpf_program__autoload(program) ? -1 : bpf_program__fd(program);
  }
  hints_ = map("gate_hints");
  filter_ = map("gate_filter");
  config_ = map("gate_config");
  masks_ = map("gate_masks");
  stun_keys_ = map("gate_stun_keys");
  connection_id_keys_ = map("gate_cid_keys");
  suffixes_ = map("gate_suffixes");
  sources_ = map("gate_sources");
  awaited_ = map("gate_awaited");
  answerers_ = map("gate_answerers");
  verdicts_ = map("gate_verdicts");
  const int least = std::min({hints_, filter_, config_, masks_, stun_keys_, connection_id_keys_, suffixes_, sources_,
                              awaited_, answerers_, verdicts_});
  return least < 0 ? unavailable(ENOENT) : Result<void>{};
}

void GateObject::set_config(const gate_config& config) { put(config_, std::uint32_t{0}, config); }
void GateObject::set_mask(std::uint32_t index, const gate_sip_key& key) { put(masks_, index, key); }
void GateObject::set_stun_key(std::uint32_t index, const gate_sip_key& key) { put(stun_keys_, index, key); }
void GateObject::set_connection_id_key(std::uint32_t index, const gate_sip_key& key) {
  put(connection_id_keys_, index, key);
}
void GateObject::set_suffix(std::uint32_t index, const gate_suffix& suffix) { put(suffixes_, index, suffix); }
void GateObject::set_source(const gate_address& ip, const gate_source& source) { put(sources_, ip, source); }
void GateObject::remove_source(const gate_address& ip) { static_cast<void>(bpf_map_delete_elem(sources_, &ip)); }
void GateObject::set_awaited(const gate_transaction& transaction, std::uint64_t expires_ns) {
  put(awaited_, transaction, expires_ns);
}
void GateObject::set_answerer(const gate_endpoint& answerer, std::uint64_t expires_ns) {
  put(answerers_, answerer, expires_ns);
}

std::array<std::uint64_t, GATE_VERDICTS> GateObject::verdicts() const {
  std::array<std::uint64_t, GATE_VERDICTS> sums{};
  const int processors = libbpf_num_possible_cpus();
  if (processors <= 0) return sums;
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(processors));
  for (std::uint32_t i = 0; i < sums.size(); ++i) {
    if (bpf_map_lookup_elem(verdicts_, &i, counts.data()) != 0) continue;
    for (const std::uint64_t count : counts) sums[i] += count;
  }
  return sums;
}

}  // namespace natt::spa::gate
