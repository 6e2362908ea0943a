// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/frame.h>

#include <natt/blake2b.h>
#include <natt/siphash.h>

#include <bit>
#include <cstring>

#include "frame_aead.h"

namespace natt::spa {
namespace {

// docs/WIRE.md section 1.2:
//
//    0           12        20             40             56       64
//   +-----------+---------+--------------+--------------+--------+
//   | nonce N   | masked H| ciphertext C | tag T        | P      |
//   +-----------+---------+--------------+--------------+--------+
constexpr std::size_t kHintAt = 12;
constexpr std::size_t kCiphertextAt = 20;
constexpr std::size_t kTagAt = 40;
constexpr std::size_t kPrefilterAt = 56;
static_assert(kCiphertextAt + kSealedSize == kTagAt);
static_assert(kTagAt + kTagSize == kPrefilterAt);

using Plaintext = SealedOctets;

AssociatedData associated_data(const FrameContext& context) {
  AssociatedData data{'s', 'p', 'a', '1', static_cast<std::uint8_t>(context.transport)};
  // memcpy, which is inlined for a fixed size, unlike std::copy's memmove.
  std::memcpy(data.data() + 5, context.verifier.bytes.data(), context.verifier.bytes.size());
  store_be(data.data() + 21, context.port);
  std::memcpy(data.data() + 23, context.binding.bytes.data(), context.binding.bytes.size());
  return data;
}

//    0          1       2                4                    10         12       20
//   +----+------+-------+----------------+--------------------+----------+--------+
//   |ver | type | flags | key generation | unix milliseconds  | knock id | tag    |
//   +----+------+-------+----------------+--------------------+----------+--------+
Plaintext serialize(const FrameBody& body) {
  Plaintext plain{};
  // The time first, as 8 octets: its two upper ones are overwritten by the key generation.
  store_be(plain.data() + 2, static_cast<std::uint64_t>(body.timestamp.time_since_epoch().count()));
  plain[0] = static_cast<std::uint8_t>((body.version << 4) | (static_cast<std::uint8_t>(body.type) & 0x0f));
  plain[1] = body.flags;
  store_be(plain.data() + 2, body.key_generation);
  store_be(plain.data() + 10, body.knock_id);
  std::copy(body.tag.begin(), body.tag.end(), plain.begin() + 12);
  return plain;
}

FrameBody parse(const Plaintext& plain) {
  constexpr std::uint64_t kTimeMask = 0xffff'ffff'ffff;
  FrameBody body;
  body.version = plain[0] >> 4;
  body.type = static_cast<FrameType>(plain[0] & 0x0f);
  body.flags = plain[1];
  body.key_generation = load_be<std::uint16_t>(plain.data() + 2);
  const std::uint64_t time = load_be<std::uint64_t>(plain.data() + 2) & kTimeMask;
  body.timestamp = WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(time)));
  body.knock_id = load_be<std::uint16_t>(plain.data() + 10);
  std::copy_n(plain.begin() + 12, body.tag.size(), body.tag.begin());
  return body;
}

// libsodium's crypto_shorthash writes its number little-endian, and so do we. Whole words: octets that were stored one by
// one would keep the wide load after them waiting.
std::array<std::uint8_t, 8> siphash_octets(std::span<const std::uint8_t, 16> key, ByteView message) {
  std::uint64_t value = siphash24(key, message);
  if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
  return std::bit_cast<std::array<std::uint8_t, 8>>(value);
}

std::array<std::uint8_t, 8> prefilter(FrameView frame, Transport transport, std::span<const std::uint8_t, 16> key) {
  std::array<std::uint8_t, kPrefilterAt + 1> message{};
  std::copy_n(frame.begin(), kPrefilterAt, message.begin());
  message.back() = static_cast<std::uint8_t>(transport);
  return siphash_octets(key, message);
}

}  // namespace

ChannelBinding ChannelBinding::of_record(ByteView record) { return {blake2b<32>(record)}; }

ChannelBinding ChannelBinding::of_connection_ids(ByteView dcid, ByteView scid) {
  const std::array<std::uint8_t, 1> dcid_size{static_cast<std::uint8_t>(dcid.size())};
  const std::array<std::uint8_t, 1> scid_size{static_cast<std::uint8_t>(scid.size())};
  return {blake2b<32>({dcid_size, dcid, scid_size, scid})};
}

AddressTag make_address_tag(const Secret<32>& address_key, const IpAddress& source) {
  const auto hash = blake2b_keyed<32>(address_key.view(), source.octets());
  AddressTag tag{};
  std::copy_n(hash.begin(), tag.size(), tag.begin());
  return tag;
}

Frame seal_frame(const SlotKeys& keys, const MaskKey& mask, const FrameContext& context, const FrameBody& body,
                 const Nonce& nonce) {
  Frame frame{};
  std::copy(nonce.begin(), nonce.end(), frame.begin());
  const auto hint_mask = siphash_octets(mask.view(), nonce);
  for (std::size_t i = 0; i < hint_mask.size(); ++i) {
    frame[kHintAt + i] = static_cast<std::uint8_t>(keys.hint[i] ^ hint_mask[i]);
  }
  const FrameAead aead{keys.aead.view(), nonce, associated_data(context)};
  aead.seal(serialize(body), std::span(frame).subspan<kCiphertextAt, kSealedSize>(),
            std::span(frame).subspan<kTagAt, kTagSize>());
  const auto p = prefilter(frame, context.transport, keys.prefilter.view());
  std::copy(p.begin(), p.end(), frame.begin() + kPrefilterAt);
  return frame;
}

std::array<std::uint8_t, 8> unmask_hint(FrameView frame, const MaskKey& mask) {
  auto hint = siphash_octets(mask.view(), frame.first<kNonceSize>());
  for (std::size_t i = 0; i < hint.size(); ++i) hint[i] = static_cast<std::uint8_t>(hint[i] ^ frame[kHintAt + i]);
  return hint;
}

bool prefilter_matches(FrameView frame, Transport transport, std::span<const std::uint8_t, 16> prefilter_key) {
  // One comparison of words, whose time does not depend on where they differ (tests/long/spa_constant_time.cc).
  std::uint64_t shown = 0;
  std::memcpy(&shown, frame.last<8>().data(), sizeof shown);
  return std::bit_cast<std::uint64_t>(prefilter(frame, transport, prefilter_key)) == shown;
}

std::optional<FrameBody> open_frame(FrameView frame, const FrameContext& context,
                                    std::span<const std::uint8_t, 32> aead_key) {
  const FrameAead aead{aead_key, frame.first<kNonceSize>(), associated_data(context)};
  const auto plain = aead.open(frame.subspan<kCiphertextAt, kSealedSize>(), frame.subspan<kTagAt, kTagSize>());
  if (!plain) return std::nullopt;
  return parse(*plain);
}

}  // namespace natt::spa
