// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "accept_rate.h"
#include "verifier_core.h"

namespace natt::spa {
Result<void> Verifier::Core::put_device(const Identity& identity, std::span<const DeviceKey> keys) {
  const DeviceId id = DeviceId::of(identity);
  const auto known = devices_.find(id);
  if (!known && devices_.size() >= options_.max_devices) {
    return fail(Errc::kLimit, "the verifier is full: raise max_devices");
  }
  auto planned = plan_keys(identity, known, keys);
  if (!planned) return tl::unexpected(planned.error());

  if (known) {
    apply_keys(*known, *planned);
    return {};
  }
  const DeviceIndex index = devices_.add(identity, id);
  devices_.at(index).newest_accepted = newest_removed_;
  devices_.at(index).floor = newest_removed_;
  devices_.at(index).clock_epoch = clock_epoch_;
  apply_keys(index, *planned);
  grow_replay_sets(identity.role);
  return {};
}

// Everything that can fail, before anything is changed.
Result<std::vector<Verifier::Core::PlannedKey>> Verifier::Core::plan_keys(const Identity& identity,
                                                                          std::optional<DeviceIndex> known,
                                                                          std::span<const DeviceKey> keys) const {
  if (keys.empty() || keys.size() > kMaxDeviceKeys) {
    return fail(Errc::kLimit, identity.uri() + ": a device has one to four SPA keys");
  }
  std::vector<PlannedKey> planned;
  for (const DeviceKey& key : keys) {
    const auto same_generation = [&key](const DeviceKey& other) { return other.generation == key.generation; };
    if (std::count_if(keys.begin(), keys.end(), same_generation) > 1) {
      return fail(Errc::kDuplicate, identity.uri() + ": two SPA keys have the same generation");
    }
    for (std::size_t own = 0; own < options_.keys.size(); ++own) {
      Credential credential{.generation = key.generation, .own_key = own_ids_[own], .public_key = key.key};
      const CredentialIndex existing = existing_key(known, credential);
      if (existing != kNoCredential) {
        planned.push_back({credential, existing, {}});
        continue;
      }
      auto pair = PairKey::derive(options_.keys[own], key.key, DeviceId::of(identity), id_, options_.psk);
      if (!pair) return fail(Errc::kBadKey, identity.uri() + ": the SPA public key is not a valid one");
      planned.push_back({credential, kNoCredential, *std::move(pair)});
    }
  }
  return planned;
}

CredentialIndex Verifier::Core::existing_key(std::optional<DeviceIndex> known, const Credential& wanted) const {
  if (!known) return kNoCredential;
  const Device& device = devices_.at(*known);
  for (std::size_t i = 0; i < device.credential_count; ++i) {
    const Credential& held = credentials_.at(device.credentials[i]);
    if (held.generation == wanted.generation && held.own_key == wanted.own_key &&
        held.public_key == wanted.public_key) {
      return device.credentials[i];
    }
  }
  return kNoCredential;
}

void Verifier::Core::apply_keys(DeviceIndex index, std::vector<PlannedKey>& planned) {
  Device& device = devices_.at(index);
  drop_credentials(device, [&planned](CredentialIndex held) {
    return std::none_of(planned.begin(), planned.end(),
                        [held](const PlannedKey& key) { return key.existing == held; });
  });
  device.credential_count = 0;
  for (PlannedKey& key : planned) {
    if (key.existing == kNoCredential) {
      key.credential.device = index;
      key.existing = credentials_.add(key.credential, key.pair);
      hints_.add(key.existing);
    }
    device.credentials[device.credential_count++] = key.existing;
  }
}

bool Verifier::Core::remove_device(const Identity& identity) {
  const auto index = devices_.find(DeviceId::of(identity));
  if (!index) return false;
  Device& device = devices_.at(*index);
  drop_credentials(device, [](CredentialIndex) { return true; });
  if (device.newest_own_used == newest_epoch_) --devices_on_newest_;
  newest_removed_ = std::max({newest_removed_, device.newest_accepted, device.floor});
  devices_.remove(*index);
  return true;
}

bool Verifier::Core::holds_device(const Identity& identity, std::span<const DeviceKey> keys) const {
  const auto known = devices_.find(DeviceId::of(identity));
  if (!known || devices_.at(*known).credential_count != keys.size() * own_ids_.size()) return false;
  return std::all_of(keys.begin(), keys.end(), [&](const DeviceKey& key) {
    return std::all_of(own_ids_.begin(), own_ids_.end(), [&](OwnKeyId own) {
      return existing_key(known, {.generation = key.generation, .own_key = own, .public_key = key.key}) !=
             kNoCredential;
    });
  });
}

const Identity* Verifier::Core::find_device(const DeviceId& id) const {
  const auto known = devices_.find(id);
  return known ? &devices_.at(*known).identity : nullptr;
}

bool Verifier::Core::keep_device_keys(const Identity& identity, std::span<const DeviceKey> keys) {
  const auto known = devices_.find(DeviceId::of(identity));
  if (!known) return false;
  drop_credentials(devices_.at(*known), [this, keys](CredentialIndex held) {
    const Credential& credential = credentials_.at(held);
    return std::none_of(keys.begin(), keys.end(), [&credential](const DeviceKey& key) {
      return key.generation == credential.generation && key.key == credential.public_key;
    });
  });
  return true;
}

std::vector<DeviceKey> Verifier::Core::retire_device_keys(const DeviceId& id, std::uint16_t generation) {
  std::vector<DeviceKey> retired;
  const auto known = devices_.find(id);
  if (!known) return retired;
  Device& device = devices_.at(*known);
  const auto is_old = [this, generation](CredentialIndex held) {
    return credentials_.at(held).generation < generation;
  };
  const auto held = std::span(device.credentials).first(device.credential_count);
  if (std::all_of(held.begin(), held.end(), is_old)) return retired;
  for (const CredentialIndex index : held) {
    const Credential& credential = credentials_.at(index);
    // One key of the device is a credential per own key.
    const auto is_listed = [&credential](const DeviceKey& key) { return key.generation == credential.generation; };
    if (is_old(index) && std::none_of(retired.begin(), retired.end(), is_listed)) {
      retired.push_back({credential.generation, credential.public_key});
    }
  }
  drop_credentials(device, is_old);
  return retired;
}

template <typename Goes>
void Verifier::Core::drop_credentials(Device& device, Goes goes) {
  const auto begin = device.credentials.begin();
  const auto end = begin + device.credential_count;
  const auto gone = std::stable_partition(begin, end, [&goes](CredentialIndex held) { return !goes(held); });
  std::for_each(gone, end, [this](CredentialIndex held) { drop_credential(held); });
  device.credential_count = static_cast<std::uint8_t>(gone - begin);
}

void Verifier::Core::drop_credential(CredentialIndex index) {
  hints_.remove(index);
  credentials_.remove(index);
}

void Verifier::Core::grow_replay_sets(Role role) {
  nonces_wanted_ += role == Role::kClient ? kAcceptedPerClient : kAcceptedPerInfrastructure;
  for (ReplaySet& set : replays_) set.reserve(std::max({kAcceptedLeast, nonces_wanted_, nonces_expected_}));
}

bool Verifier::Core::expect_devices(std::size_t clients, std::size_t infrastructure) {
  const std::size_t devices = std::min(clients + infrastructure, options_.max_devices);
  nonces_expected_ = accepted_per_slot(clients, infrastructure);
  devices_.reserve(devices);
  if (credentials_.reserve(devices * own_ids_.size())) return true;
  return hints_.reserve_one(devices * own_ids_.size());
}

// Keys of devices are matched by the own pair they were made with, so a pair that stays keeps its id.
void Verifier::Core::set_own_keys(std::vector<KeyPair> keys) {
  if (keys.empty() || keys.size() > kMaxOwnKeys) std::abort();
  std::vector<OwnKeyId> ids;
  for (const KeyPair& key : keys) {
    const auto same = std::find_if(options_.keys.begin(), options_.keys.end(), [&key](const KeyPair& held) {
      return held.public_key() == key.public_key();
    });
    ids.push_back(same == options_.keys.end()
                      ? make_own_id()
                      : own_ids_[static_cast<std::size_t>(same - options_.keys.begin())]);
  }
  const bool all_stay = std::all_of(own_ids_.begin(), own_ids_.end(), [&ids](OwnKeyId id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  });
  if (ids.front() != own_ids_.front()) {
    devices_on_newest_ = 0;
    if (++newest_epoch_ == 0) newest_epoch_ = 1;
  }
  options_.keys = std::move(keys);
  own_ids_ = std::move(ids);
  if (!all_stay) wiping_ = 0;
}

void Verifier::Core::retire_older_own_keys() {
  if (options_.keys.size() < 2) return;
  options_.keys.erase(options_.keys.begin() + 1, options_.keys.end());
  own_ids_.resize(1);
  wiping_ = 0;
}

OwnKeyId Verifier::Core::make_own_id() {
  return next_own_id_++;
}

std::size_t Verifier::Core::position_of(OwnKeyId id) const {
  const auto found = std::find(own_ids_.begin(), own_ids_.end(), id);
  return found == own_ids_.end() ? kNoPosition : static_cast<std::size_t>(found - own_ids_.begin());
}

void Verifier::Core::wipe_stale_piece() {
  // About 1 ms: each is a wipe in the table of pairs and in those of three slots.
  constexpr CredentialIndex kWipes = 512;
  const auto extent = static_cast<CredentialIndex>(credentials_.extent());
  const CredentialIndex end = std::min(extent, *wiping_ + kWipes);
  for (; *wiping_ < end; ++*wiping_) {
    if (!credentials_.at(*wiping_).alive || !is_stale(*wiping_)) continue;
    drop_credentials(devices_.at(credentials_.at(*wiping_).device),
                     [this](CredentialIndex held) { return held == *wiping_; });
  }
  if (*wiping_ == extent) wiping_.reset();
}

void Verifier::Core::note_own_key_use(Device& device, const Credential& used) {
  if (used.own_key != own_ids_.front() || device.newest_own_used == newest_epoch_) return;
  device.newest_own_used = newest_epoch_;
  ++devices_on_newest_;
}

}  // namespace natt::spa
