// SPDX-License-Identifier: Apache-2.0
#include <natt/roster_loader.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace natt {
namespace {

// A unit is what looking at a device takes that is in already, about 1.3 us; a new key takes 32 of them
// (bench/roster_bench.cc). A piece is then about 1.5 ms.
constexpr std::size_t kPiece = 1024;
constexpr std::size_t kNewKey = 32;
// Devices dropped per piece: about 2 us each.
constexpr std::size_t kUrgentPiece = 512;

std::vector<spa::DeviceKey> to_device_keys(const std::vector<SpaPublicKey>& listed) {
  std::vector<spa::DeviceKey> keys;
  for (const SpaPublicKey& key : listed) keys.push_back({key.generation, {key.key}});
  return keys;
}

}  // namespace

RosterLoader::RosterLoader(RosterLoaderOptions options, spa::Verifier& verifier)
    : options_(std::move(options)), verifier_(verifier), retired_(std::move(options_.retired)) {}

bool RosterLoader::is_served(const Identity& identity) const {
  return identity != options_.self && (!options_.clients_only || identity.role == Role::kClient);
}

void RosterLoader::handle_roster(const Roster& roster, const RosterChange& change) {
  const auto is_client = [](const RosterDevice& device) { return device.identity.role == Role::kClient; };
  clients_ = static_cast<std::size_t>(std::count_if(roster.devices.begin(), roster.devices.end(), is_client));
  if (roster_ == nullptr) retired_.prune(roster);
  making_room_ = true;
  roster_ = &roster;
  cursor_ = 0;
  std::size_t at_once = 0;
  for (const std::vector<Identity>* affected : {&change.removed, &change.changed}) {
    for (const Identity& identity : *affected) {
      if (at_once++ < kAtOnce) {
        restrict(identity);
      } else {
        urgent_.push_back(identity);
      }
    }
  }
}

void RosterLoader::restrict(const Identity& identity) {
  if (identity == options_.self) return;
  const RosterDevice* device = is_served(identity) ? roster_->find(identity) : nullptr;
  if (device == nullptr) {
    verifier_.remove_device(identity);
    retired_.forget(identity);
  } else {
    verifier_.keep_device_keys(identity, to_device_keys(retired_.usable(*device)));
  }
}

void RosterLoader::step() {
  if (!urgent_.empty()) return step_urgent();
  if (making_room_) return make_room();
  for (std::size_t spent = 0; spent < kPiece && cursor_ < end(); ++cursor_) spent += put(roster_->devices[cursor_]);
}

void RosterLoader::make_room() {
  const std::size_t infrastructure = options_.clients_only ? 0 : end() - clients_;
  making_room_ = verifier_.expect_devices(clients_, infrastructure);
}

void RosterLoader::step_urgent() {
  for (std::size_t i = 0; i < kUrgentPiece && !urgent_.empty(); ++i) {
    restrict(urgent_.back());
    urgent_.pop_back();
  }
}

std::size_t RosterLoader::put(const RosterDevice& device) {
  if (device.identity == options_.self) retired_.keep_listed(device);
  if (!is_served(device.identity)) return 1;
  retired_.keep_listed(device);
  const std::vector<spa::DeviceKey> keys = to_device_keys(retired_.usable(device));
  if (verifier_.holds_device(device.identity, keys)) return 1;
  if (const auto put = verifier_.put_device(device.identity, keys); !put) {
    options_.log(LogLevel::kWarning, fmt::format("natt.spa.device_refused device={} reason=\"{}\"",
                                                 device.identity.uri(), put.error().message));
  }
  return kNewKey * keys.size();
}

void RosterLoader::handle_key_used(const spa::NewKeyUsed& used) {
  const Identity* device = verifier_.find_device(used.device);
  if (device == nullptr) return;
  const auto dropped = verifier_.retire_device_keys(used.device, used.generation);
  for (const spa::DeviceKey& key : dropped) {
    const SpaPublicKey retired{key.generation, key.key.bytes};
    retired_.add(*device, retired);
    retired_lines_ += RetiredKeys::line(*device, retired);
    options_.log(LogLevel::kInfo, fmt::format("natt.spa.key_retired device={} generation={} used={}", device->uri(),
                                              key.generation, used.generation));
  }
}

void RosterLoader::note_own_retired(const SpaPublicKey& key) {
  retired_.add(options_.self, key);
  retired_lines_ += RetiredKeys::line(options_.self, key);
}

}  // namespace natt
