// SPDX-License-Identifier: Apache-2.0
#include <natt/session_offer.h>

#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <openssl/sha.h>

#include <natt/errc.h>

#include "offer.pb.h"
#include "src/signal/signal_fields.h"

namespace natt {
namespace {

// With their terminating zero: no other context string continues them.
constexpr std::string_view kOfferContext("natt-offer-1\0", 13);
constexpr std::string_view kAnswerContext("natt-answer-1\0", 14);

using Digest = std::array<std::uint8_t, 32>;

ByteBuffer signing_input(std::string_view context, const std::string& body) {
  ByteBuffer input;
  ByteWriter writer(input);
  writer.write_bytes(as_bytes(context));
  writer.write_bytes(as_bytes(body));
  return input;
}

Digest digest_of(const std::string& body) {
  Digest digest{};
  SHA256(as_bytes(body).data(), body.size(), digest.data());
  return digest;
}

Result<ByteBuffer> seal(std::string_view context, const std::string& body, const Credentials& signer) {
  const auto signature = signer.sign(signing_input(context, body));
  if (!signature) return tl::unexpected<Error>(signature.error());
  wire::Sealed sealed;
  sealed.set_body(body);
  sealed.set_certificate(to_wire(signer.certificate_der()));
  sealed.set_signature(to_wire(*signature));
  if (sealed.ByteSizeLong() > kMaxSealedOffer) return fail(Errc::kLimit, "the offer or answer is too large");
  return to_buffer(sealed.SerializeAsString());
}

struct Opened {
  PeerCertificate signer;
  std::string body;
};

// Whoever signed is a device of the site that the roster admits; the body is what it signed.
Result<Opened> open(std::string_view context, ByteView bytes, const PeerExpectation& expectation, const SiteCa& ca,
                    const Roster& roster, WallTime wall_now) {
  wire::Sealed sealed;
  if (bytes.size() > kMaxSealedOffer || !sealed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(Errc::kMalformed, "the offer or answer cannot be read");
  }
  auto signer = PeerCertificate::verify(as_bytes(sealed.certificate()), ca, expectation, wall_now);
  if (!signer) return tl::unexpected<Error>(signer.error());
  if (!signer->verify_signature(signing_input(context, sealed.body()), as_bytes(sealed.signature()))) {
    return fail(Errc::kUntrusted, "the signature is not that of " + signer->identity().uri());
  }
  if (auto admitted = roster.admits(signer->identity(), signer->serial()); !admitted) {
    return tl::unexpected<Error>(std::move(admitted.error()));
  }
  return Opened{std::move(*signer), sealed.body()};
}

Result<void> check_window(WallTime time, WallTime wall_now) {
  const auto distance = time > wall_now ? time - wall_now : wall_now - time;
  if (distance <= kOfferWindow) return {};
  return fail(Errc::kExpired, fmt::format("its time is {} s {} this clock", distance.count() / 1000,
                                          time > wall_now ? "ahead of" : "behind"));
}

std::optional<SessionOffer> decode_offer(const std::string& body) {
  wire::OfferBody in;
  if (!in.ParseFromString(body)) return std::nullopt;
  const auto session = get_session(in.session());
  auto gateway = Identity::parse(in.gateway());
  auto punch = get_punch(in.punch());
  const auto udp = get_reach(in.udp());
  const auto time = get_time(in.time_ms());
  SessionOffer out;
  if (!session || !gateway || !punch || !udp || !time || !get_candidates(in.candidates(), out.candidates)) {
    return std::nullopt;
  }
  out.session = *session;
  out.gateway = std::move(*gateway);
  out.punch = std::move(*punch);
  out.udp = *udp;
  out.time = *time;
  return out;
}

// What only an acceptance has.
bool decode_acceptance(const wire::AnswerBody& in, SessionAnswer& out) {
  auto punch = get_punch(in.punch());
  const auto udp = get_reach(in.udp());
  if (!punch || !udp || !get_candidates(in.candidates(), out.candidates) ||
      !copy_exactly<16>(in.transaction_key(), out.transaction_key.mutable_view())) {
    return false;
  }
  out.punch = std::move(*punch);
  out.udp = *udp;
  return true;
}

struct BoundAnswer {
  SessionAnswer answer;
  Digest offer_digest{};
};

std::optional<BoundAnswer> decode_answer(const std::string& body) {
  wire::AnswerBody in;
  BoundAnswer out;
  if (!in.ParseFromString(body) || !copy_exactly<32>(in.offer_digest(), out.offer_digest)) return std::nullopt;
  const auto session = get_session(in.session());
  auto client = Identity::parse(in.client());
  const auto time = get_time(in.time_ms());
  if (!session || !client || !time) return std::nullopt;
  out.answer.session = *session;
  out.answer.client = std::move(*client);
  out.answer.time = *time;
  if (in.refusal() == 0) return decode_acceptance(in, out.answer) ? std::optional(std::move(out)) : std::nullopt;
  out.answer.refusal = get_refusal(in.refusal());
  return out.answer.refusal ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace

Result<SealedOffer> seal_offer(const SessionOffer& offer, const Credentials& client) {
  wire::OfferBody out;
  out.set_session(to_wire(offer.session.octets));
  out.set_gateway(offer.gateway.uri());
  put_punch(offer.punch, *out.mutable_punch());
  put_reach(offer.udp, *out.mutable_udp());
  put_candidates(offer.candidates, *out.mutable_candidates());
  out.set_time_ms(to_wire_time(offer.time));
  const std::string body = out.SerializeAsString();
  if (!decode_offer(body)) return fail(Errc::kLimit, "the offer exceeds the bounds of its fields");
  auto sealed = seal(kOfferContext, body, client);
  if (!sealed) return tl::unexpected<Error>(sealed.error());
  return SealedOffer{std::move(*sealed), digest_of(body)};
}

Result<ByteBuffer> seal_answer(const SessionAnswer& answer, const Digest& offer_digest, const Credentials& gateway) {
  wire::AnswerBody out;
  out.set_session(to_wire(answer.session.octets));
  out.set_client(answer.client.uri());
  out.set_offer_digest(to_wire(offer_digest));
  out.set_time_ms(to_wire_time(answer.time));
  if (answer.refusal) {
    out.set_refusal(static_cast<std::uint32_t>(*answer.refusal));
  } else {
    put_punch(answer.punch, *out.mutable_punch());
    out.set_transaction_key(to_wire(answer.transaction_key.view()));
    put_reach(answer.udp, *out.mutable_udp());
    put_candidates(answer.candidates, *out.mutable_candidates());
  }
  const std::string body = out.SerializeAsString();
  if (!decode_answer(body)) return fail(Errc::kLimit, "the answer exceeds the bounds of its fields");
  return seal(kAnswerContext, body, gateway);
}

Result<VerifiedOffer> OfferVerifier::verify(ByteView sealed_offer, const Roster& roster, WallTime wall_now) {
  const Identity& self = credentials_.identity();
  const PeerExpectation expectation{.site = self.site, .role = Role::kClient, .identity = std::nullopt};
  auto opened = open(kOfferContext, sealed_offer, expectation, credentials_.site_ca(), roster, wall_now);
  if (!opened) return tl::unexpected<Error>(opened.error());
  auto offer = decode_offer(opened->body);
  if (!offer) return fail(Errc::kMalformed, "the offer holds an invalid value");
  if (offer->gateway != self) return fail(Errc::kWrongIdentity, "the offer is for " + offer->gateway.uri());
  if (auto window = check_window(offer->time, wall_now); !window) return tl::unexpected<Error>(window.error());
  forget_old(wall_now);
  if (seen_.contains(offer->session)) return fail(Errc::kRefused, "the offer's session was seen before: a replay");
  if (seen_.size() >= kMaxSeen) return fail(Errc::kLimit, "too many offers in two minutes");
  // As long as the offer's own time can still be inside the window, whatever this clock does meanwhile
  // within it.
  const WallTime until = wall_now + 2 * kOfferWindow;
  seen_.emplace(offer->session, until);
  expiry_.emplace(until, offer->session);
  return VerifiedOffer{opened->signer.identity(), opened->signer.serial(), std::move(*offer), digest_of(opened->body)};
}

void OfferVerifier::forget_old(WallTime wall_now) {
  while (!expiry_.empty() && expiry_.begin()->first < wall_now) {
    seen_.erase(expiry_.begin()->second);
    expiry_.erase(expiry_.begin());
  }
}

Result<SessionAnswer> verify_answer(ByteView sealed_answer, const SessionId& session, const Identity& gateway,
                                    const Digest& offer_digest, const Credentials& client, const Roster& roster,
                                    WallTime wall_now) {
  const PeerExpectation expectation{.site = gateway.site, .role = Role::kGateway, .identity = gateway};
  auto opened = open(kAnswerContext, sealed_answer, expectation, client.site_ca(), roster, wall_now);
  if (!opened) return tl::unexpected<Error>(opened.error());
  auto bound = decode_answer(opened->body);
  if (!bound) return fail(Errc::kMalformed, "the answer holds an invalid value");
  if (bound->answer.session != session || bound->answer.client != client.identity() ||
      bound->offer_digest != offer_digest) {
    return fail(Errc::kWrongIdentity, "the answer is to another offer");
  }
  if (auto window = check_window(bound->answer.time, wall_now); !window) return tl::unexpected<Error>(window.error());
  return std::move(bound->answer);
}

}  // namespace natt
