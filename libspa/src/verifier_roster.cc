// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

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
    for (std::uint8_t own = 0; own < options_.keys.size(); ++own) {
      Credential credential{.generation = key.generation, .own_key = own, .public_key = key.key};
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
  for (std::size_t i = 0; i < device.credential_count; ++i) {
    const CredentialIndex held = device.credentials[i];
    const auto stays = [held](const PlannedKey& key) { return key.existing == held; };
    if (std::none_of(planned.begin(), planned.end(), stays)) drop_credential(held);
  }
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
  const Device& device = devices_.at(*index);
  for (std::size_t i = 0; i < device.credential_count; ++i) drop_credential(device.credentials[i]);
  newest_removed_ = std::max({newest_removed_, device.newest_accepted, device.floor});
  devices_.remove(*index);
  return true;
}

void Verifier::Core::drop_credential(CredentialIndex index) {
  hints_.remove(index);
  credentials_.remove(index);
}

// The sets hold what all devices together accept in a slot: sized for every client reconnecting at once (a knock on
// all carriers with its repeats) and for the relay joins of every gateway and broker after a restart.
void Verifier::Core::grow_replay_sets(Role role) {
  constexpr std::size_t kPerClient = 6;
  constexpr std::size_t kPerInfrastructure = 4096;
  constexpr std::size_t kLeast = 49152;
  nonces_wanted_ += role == Role::kClient ? kPerClient : kPerInfrastructure;
  for (ReplaySet& set : replays_) set.reserve(std::max(kLeast, nonces_wanted_));
}

}  // namespace natt::spa
