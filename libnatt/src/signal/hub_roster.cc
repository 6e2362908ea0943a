// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <natt/errc.h>

#include "src/signal/signal_hub_impl.h"

namespace natt {
namespace {

// Pieces of the roster are queued while less than this waits, so that other messages always have room.
constexpr std::size_t kPushWatermark = 32 * 1024;

}  // namespace

void SignalHub::Impl::start_push(Instant now, HubChannel& channel) {
  channel.push.start();
  pump_push(now, channel.id);
}

void SignalHub::Impl::pump_push(Instant now, ChannelId id) {
  while (HubChannel* channel = find(id)) {
    if (!channel->push.active() || channel->stream.pending_output() >= kPushWatermark) return;
    const auto chunk = channel->push.next_chunk(*channel->site->roster, channel->view());
    if (!chunk) return;
    send(now, *channel, *chunk);
  }
}

void SignalHub::Impl::revoke(Instant now, const Identity& identity) {
  for (const SessionKey& key : sessions.sessions_of(identity)) {
    const HubSession* session = sessions.find(key);
    if (session != nullptr) end_session(now, key, session->other_end(identity), SessionEndReason::kRevoked);
  }
  last_offers.erase(identity);
  events.push_back(DeviceRevoked{identity});
}

void SignalHub::Impl::handle_roster_change(Instant now, const std::string& site, const RosterChange& change) {
  const auto found = sites.find(site);
  const Roster* roster = found == sites.end() ? nullptr : found->second.roster->roster();
  if (change.number == 0 || roster == nullptr) return;
  // Channels first, those in their handshake included: nothing is sent to a revoked device any more.
  std::vector<ChannelId> members;
  for (const auto& [id, channel] : channels) {
    if (channel->identity.site == site) members.push_back(id);
  }
  for (const ChannelId id : members) {
    HubChannel* channel = find(id);
    if (channel == nullptr) continue;
    auto admitted = channel->state == HubChannel::State::kHandshaking && roster->find(channel->identity) != nullptr
                        ? Result<void>()
                        : roster->admits(channel->identity, channel->serial);
    if (!admitted) end_channel(now, id, LogLevel::kWarning, std::move(admitted.error()));
  }
  std::set<Identity> revoked(change.removed.begin(), change.removed.end());
  for (const RevokedCertificate& entry : change.revoked) {
    // Still here after the above: it has a new certificate already, as after a renewal.
    if (!presence.channel_of(entry.identity)) revoked.insert(entry.identity);
  }
  for (const Identity& identity : revoked) revoke(now, identity);
  for (const ChannelId id : presence.channels(site, std::nullopt)) {
    if (HubChannel* channel = find(id)) start_push(now, *channel);
  }
}

}  // namespace natt
