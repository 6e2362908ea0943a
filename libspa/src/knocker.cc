// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/knocker.h>

#include <natt/spa/dns_carrier.h>
#include <natt/spa/udp_carrier.h>

namespace natt::spa {

Knocker::Knocker(const KnockerOptions& options, const PairKey& pair, Random& random)
    : verifier_(DeviceId::of(options.verifier)),
      port_(options.port),
      mask_(options.mask),
      key_generation_(options.key_generation),
      wanted_(options.wanted),
      dns_suffix_(options.dns_suffix),
      pair_(Secret<32>::kSize),
      random_(random),
      next_id_(load_be<std::uint16_t>(random.bytes<2>().data())) {
  std::copy_n(pair.bytes.data(), pair_.bytes().size(), pair_.bytes().begin());
}

void Knocker::set_pair(const PairKey& pair, std::uint16_t key_generation) {
  std::copy_n(pair.bytes.data(), pair_.bytes().size(), pair_.bytes().begin());
  key_generation_ = key_generation;
}

KnockId Knocker::next_knock_id() { return static_cast<KnockId>(next_id_++); }

ByteBuffer Knocker::make_udp_knock(WallTime wall_now, KnockId id, FrameType type) {
  return make_udp_carrier(seal(wall_now, id, type, Transport::kUdp, {}));
}

ByteBuffer Knocker::make_dns_knock(WallTime wall_now, KnockId id, FrameType type) {
  return make_dns_carrier(seal(wall_now, id, type, Transport::kDns, {}), dns_suffix_, random_);
}

ByteBuffer Knocker::make_tcp_hello(WallTime wall_now, KnockId id, ByteView client_hello_record) {
  const auto binding = ChannelBinding::of_record(client_hello_record);
  return make_tls_hello_record(seal(wall_now, id, FrameType::kKnock, Transport::kTcp, binding), random_);
}

RelayJoinHello Knocker::make_relay_join(WallTime wall_now, KnockId id, const PairingToken& token) {
  ByteBuffer record2 = make_pairing_record(token);
  const auto binding = ChannelBinding::of_record(record2);
  return {make_tls_hello_record(seal(wall_now, id, FrameType::kRelayJoin, Transport::kTcp, binding), random_),
          std::move(record2)};
}

Frame Knocker::make_quic_token(WallTime wall_now, KnockId id, ByteView dcid, ByteView scid) {
  return seal(wall_now, id, FrameType::kKnock, Transport::kQuicToken, ChannelBinding::of_connection_ids(dcid, scid));
}

Frame Knocker::seal(WallTime wall_now, KnockId id, FrameType type, Transport transport, const ChannelBinding& binding) {
  FrameBody body;
  body.type = type;
  body.flags = wanted_;
  body.key_generation = key_generation_;
  body.timestamp = wall_now + clock_offset_;
  body.knock_id = static_cast<std::uint16_t>(id);

  PairKey pair{Secret<32>(pair_.bytes().first<32>())};
  const SlotKeys keys = SlotKeys::derive(pair, Slot::of(body.timestamp));
  if (public_address_ && transport != Transport::kQuicToken) {
    body.flags |= kFlagAddressBound;
    body.tag = make_address_tag(keys.address, *public_address_);
  } else {
    random_.fill(body.tag);
  }
  const std::uint16_t port = transport == Transport::kQuicToken ? std::uint16_t{0} : port_;
  return seal_frame(keys, mask_, {transport, verifier_, port, binding}, body, random_.bytes<kNonceSize>());
}

}  // namespace natt::spa
