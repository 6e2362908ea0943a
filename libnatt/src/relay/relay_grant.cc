// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_grant.h>

#include <openssl/aead.h>

#include <cstdlib>

#include <natt/errc.h>

#include "src/relay/relay_mac.h"

// A sealed grant: | nonce 24 | ciphertext | tag 16 |, XChaCha20-Poly1305 (the long
// nonce may be random for the life of the key). Plaintext:
//
//   | version 1 | side 1 | session 16 | issued 8 | expires 8 | site 1+n | client 1+n | gateway 1+n |

namespace natt {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kNonceSize = 24;
constexpr std::size_t kTagSize = 16;
constexpr std::string_view kSealLabel = "natt relay grant seal v1";
constexpr std::string_view kLegLabel = "natt relay leg key v1";

void write_name(ByteWriter& writer, const std::string& name) {
  writer.write(static_cast<std::uint8_t>(name.size()));
  writer.write_bytes(as_bytes(name));
}

std::optional<std::string> read_name(ByteReader& reader) {
  const auto size = reader.read<std::uint8_t>();
  const auto bytes = size ? reader.read_bytes(*size) : std::nullopt;
  if (!bytes || !is_valid_name(as_text(*bytes))) return std::nullopt;
  return std::string(as_text(*bytes));
}

ByteBuffer serialize(const RelayGrantClaims& claims) {
  ByteBuffer plain;
  ByteWriter writer(plain);
  writer.write(kVersion);
  writer.write(static_cast<std::uint8_t>(claims.side));
  writer.write_bytes(claims.session);
  writer.write(static_cast<std::uint64_t>(claims.issued.time_since_epoch().count()));
  writer.write(static_cast<std::uint64_t>(claims.expires.time_since_epoch().count()));
  write_name(writer, claims.client.site);
  write_name(writer, claims.client.name);
  write_name(writer, claims.gateway.name);
  return plain;
}

// What we have sealed ourselves still gets every check: another version of us may have.
std::optional<RelayGrantClaims> parse(ByteView plain) {
  ByteReader reader(plain);
  const auto version = reader.read<std::uint8_t>();
  const auto side = reader.read<std::uint8_t>();
  const auto session = reader.read_bytes(16);
  const auto issued = reader.read<std::uint64_t>();
  const auto expires = reader.read<std::uint64_t>();
  const auto site = read_name(reader);
  const auto client = site ? read_name(reader) : std::nullopt;
  const auto gateway = client ? read_name(reader) : std::nullopt;
  if (!gateway || !reader.empty() || *version != kVersion || *side > 1) return std::nullopt;
  RelayGrantClaims claims;
  std::copy(session->begin(), session->end(), claims.session.begin());
  claims.side = static_cast<RelaySide>(*side);
  claims.client = {*site, Role::kClient, *client};
  claims.gateway = {*site, Role::kGateway, *gateway};
  claims.issued = WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(*issued)));
  claims.expires = WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(*expires)));
  return claims;
}

class Aead {
 public:
  explicit Aead(const RelayKey& key) {
    const auto* algorithm = EVP_aead_xchacha20_poly1305();
    if (EVP_AEAD_CTX_init(context_.get(), algorithm, key.data(), RelayKey::kSize, kTagSize, nullptr) != 1) std::abort();
  }
  [[nodiscard]] EVP_AEAD_CTX* get() { return context_.get(); }

 private:
  bssl::ScopedEVP_AEAD_CTX context_;
};

bool well_formed(const Identity& client, const Identity& gateway) {
  return client.role == Role::kClient && gateway.role == Role::kGateway && client.site == gateway.site &&
         is_valid_name(client.site) && is_valid_name(client.name) && is_valid_name(gateway.name);
}

}  // namespace

GrantSealer::GrantSealer(const RelayKey& broker_key)
    : sealing_key_(relay::derive_key(broker_key, {as_bytes(kSealLabel)})),
      leg_master_key_(relay::derive_key(broker_key, {as_bytes(kLegLabel)})) {}

Result<RelayGrantPair> GrantSealer::issue(Random& random, const Identity& client, const Identity& gateway,
                                          std::optional<RelaySessionId> session, WallTime wall_now) const {
  if (!well_formed(client, gateway)) {
    return fail(Errc::kMalformed, "a relay session is between a client and a gateway of one site");
  }
  RelayGrantClaims claims;
  claims.session = session ? *session : random.bytes<16>();
  claims.client = client;
  claims.gateway = gateway;
  claims.issued = wall_now;
  claims.expires = wall_now + kRelayGrantLifetime;
  RelayGrantPair pair;
  claims.side = RelaySide::kClient;
  pair.client = seal(random, claims);
  claims.side = RelaySide::kGateway;
  pair.gateway = seal(random, claims);
  return pair;
}

RelayGrant GrantSealer::seal(Random& random, const RelayGrantClaims& claims) const {
  const ByteBuffer plain = serialize(claims);
  const auto nonce = random.bytes<kNonceSize>();
  RelayGrant grant{claims.session, ByteBuffer(kNonceSize + plain.size() + kTagSize), leg_key(claims), claims.expires};
  std::copy(nonce.begin(), nonce.end(), grant.sealed.begin());
  std::size_t written = 0;
  Aead aead(sealing_key_);
  if (EVP_AEAD_CTX_seal(aead.get(), grant.sealed.data() + kNonceSize, &written, plain.size() + kTagSize, nonce.data(),
                        nonce.size(), plain.data(), plain.size(), nullptr, 0) != 1) {
    std::abort();  // only sizes can be wrong here
  }
  return grant;
}

std::optional<RelayGrantClaims> GrantSealer::open(ByteView sealed) const {
  if (sealed.size() <= kNonceSize + kTagSize || sealed.size() > kRelayGrantMaximum) return std::nullopt;
  const ByteView nonce = sealed.first(kNonceSize);
  const ByteView ciphertext = sealed.subspan(kNonceSize);
  std::array<std::uint8_t, kRelayGrantMaximum> plain{};
  std::size_t size = 0;
  Aead aead(sealing_key_);
  if (EVP_AEAD_CTX_open(aead.get(), plain.data(), &size, plain.size(), nonce.data(), nonce.size(), ciphertext.data(),
                        ciphertext.size(), nullptr, 0) != 1) {
    return std::nullopt;
  }
  return parse(ByteView(plain).first(size));
}

RelayKey GrantSealer::leg_key(const RelayGrantClaims& claims) const {
  const std::array<std::uint8_t, 1> side{static_cast<std::uint8_t>(claims.side)};
  const std::string client = claims.client.uri();
  const std::string gateway = claims.gateway.uri();
  // A URI has no zero octet, so the three parts cannot be confused.
  constexpr std::array<std::uint8_t, 1> kSeparator{0};
  return relay::derive_key(leg_master_key_,
                           {claims.session, side, as_bytes(client), kSeparator, as_bytes(gateway)});
}

}  // namespace natt
