// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/relay_join.h>

#include <natt/errc.h>
#include <natt/tcp_relay.h>
#include <natt/uv/site_signaling.h>
#include <natt/uv/tcp_race.h>

namespace natt::uv {

// All connections of the race show the same token; the broker takes none of them for the leg before the confirmation,
// which only the one gets that has won.
class SiteSignaling::Join final : public RelayJoin, private TcpRace::Listener {
 public:
  Join(SiteSignaling& signaling, BrokerIndex broker, spa::KnockId knock, const spa::PairingToken& token,
       RelayJoin::Listener& listener)
      : signaling_(signaling), broker_(broker), knock_(knock), token_(token), listener_(listener),
        race_(signaling.loop_, *this) {}

  void start(Instant now, const SocketAddress& to) { race_.start(now, to); }

 private:
  ByteBuffer make_first_flight() override { return signaling_.make_join_flight(broker_, knock_, token_); }
  void on_race_won(Instant now, std::unique_ptr<TcpConnection> connection) override {
    connection->write(kRelayJoinConfirmation);
    listener_.on_relay_joined(now, std::move(connection));
  }
  void on_race_lost(Instant now, const Error& error) override {
    listener_.on_relay_join_failed(now, {error.code, "joining the relay: " + error.message});
  }

  SiteSignaling& signaling_;
  BrokerIndex broker_;
  spa::KnockId knock_;
  spa::PairingToken token_;
  RelayJoin::Listener& listener_;
  TcpRace race_;
};

Result<std::unique_ptr<RelayJoin>> SiteSignaling::join_relay(Instant now, BrokerIndex broker,
                                                             const RelayGrantMessage& grant,
                                                             RelayJoin::Listener& listener) {
  Broker* found = find(broker);
  if (found == nullptr) return fail(Errc::kUnavailable, "the broker of the relay is no longer in the roster");
  if (grant.transport != RelayTransport::kTcp) return fail(Errc::kUnavailable, "the relay grant is not for TCP");
  if (!may_relay(broker, grant.relay)) {
    return fail(Errc::kUnavailable, "the relay " + grant.relay.to_string() + " is not at an address of its broker");
  }
  // First: in mode udp-tcp the SYN waits for it.
  const spa::KnockId knock = start_join_knock(now, *found, grant.relay);
  auto join = std::make_unique<Join>(*this, broker, knock, grant.pairing_token, listener);
  join->start(now, grant.relay);
  return join;
}

ByteBuffer SiteSignaling::make_join_flight(BrokerIndex index, spa::KnockId knock, const spa::PairingToken& token) {
  const Broker* broker = find(index);
  if (broker == nullptr) return {};
  spa::RelayJoinHello hello = broker->knocker->make_relay_join(wall_now(), knock, token);
  ByteBuffer flight = std::move(hello.record1);
  flight.insert(flight.end(), hello.record2.begin(), hello.record2.end());
  return flight;
}

}  // namespace natt::uv
