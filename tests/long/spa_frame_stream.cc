// SPDX-License-Identifier: Apache-2.0
// libspa's half of tests/long/spa_codec_million.py, which has the other half in Python.
//
//   spa_frame_stream pairs SEED          a line of `name=value` fields for each of kPairs pairs of keys
//   spa_frame_stream write SEED COUNT    COUNT records on stdout: frames in their carriers
//   spa_frame_stream check SEED          takes records on stdin; status 1 at the first verdict that is not the expected
//
// A record, big-endian: pair (2) ‖ tr ‖ port (2) ‖ cb (32) ‖ body as in docs/WIRE.md section 1.2 (20) ‖ N (12) ‖ frame
// (64) ‖ expected verdict (see Verdict) ‖ size of the carrier (2) ‖ carrier.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <natt/spa/dns_carrier.h>
#include <natt/spa/quic_initial.h>
#include <natt/spa/tls_hello_carrier.h>
#include <natt/spa/udp_carrier.h>

#include <tests/support/seeded_random.h>
#include <tests/unit/spa/spa_vector.h>

namespace {

using namespace natt;
using namespace natt::spa;
using test::SeededRandom;
using test::SpaVector;

constexpr std::size_t kPairs = 500;
constexpr std::size_t kHead = 2 + 1 + 2 + 32 + 20 + 12 + 64 + 1 + 2;
constexpr std::size_t kBodyAt = 37;
constexpr std::size_t kFrameAt = 69;
constexpr std::size_t kVerdictAt = 133;
constexpr std::size_t kCarrierSizeAt = 134;

enum class Verdict : std::uint8_t {
  kRefused,       // by hint or P
  kOpens,         // to exactly the body of the record
  kRefusedTwice,  // by hint or P, and by the AEAD on its own
};

struct Pair {
  SpaVector inputs;
  PairKey key;
  DeviceId verifier;
  DnsSuffix suffix;
};

std::vector<Pair> draw_pairs(std::uint64_t seed) {
  SeededRandom random(seed);
  std::vector<Pair> pairs;
  while (pairs.size() < kPairs) {
    const SpaVector inputs = SpaVector::draw(random);
    const auto own = KeyPair::from_secret(inputs.device_secret);
    const auto peer = KeyPair::from_secret(inputs.verifier_secret);
    const DeviceId verifier = DeviceId::of(inputs.verifier);
    pairs.push_back({inputs, *PairKey::derive(own, peer.public_key(), DeviceId::of(inputs.device), verifier,
                                              SitePsk(inputs.psk)),
                     verifier, DnsSuffix::of_site(SitePsk(inputs.psk))});
  }
  return pairs;
}

// The Initial of docs/WIRE.md section 1.6 around a frame; what would be ciphertext is random.
ByteBuffer make_initial(FrameView frame, ByteView dcid, ByteView scid, Random& random) {
  ByteBuffer out;
  ByteWriter writer(out);
  const bool second = random.uniform(2) == 1;
  writer.write(static_cast<std::uint8_t>((second ? 0xd0 : 0xc0) + random.uniform(16)));
  writer.write(second ? kQuicVersion2 : kQuicVersion1);
  for (const ByteView id : {dcid, scid}) {
    writer.write(static_cast<std::uint8_t>(id.size()));
    writer.write_bytes(id);
  }
  writer.write(std::uint16_t{0x4040});
  writer.write_bytes(frame);
  const std::size_t rest = 1200 - out.size() - 2;
  writer.write(static_cast<std::uint16_t>(0x4000 + rest));
  out.resize(1200);
  random.fill(std::span(out).last(rest));
  return out;
}

ByteBuffer random_record2(Random& random) {
  ByteBuffer record(5 + 1 + random.uniform(200));
  random.fill(record);
  const std::size_t size = record.size() - 5;
  const std::array<std::uint8_t, 5> header{22, 3, 1, static_cast<std::uint8_t>(size >> 8),
                                           static_cast<std::uint8_t>(size & 0xff)};
  std::copy(header.begin(), header.end(), record.begin());
  return record;
}

struct Record {
  std::array<std::uint8_t, kHead> head{};
  ByteBuffer carrier;
};

Frame seal(const Pair& pair, const SpaVector& v) {
  const FrameContext context{v.transport, pair.verifier, v.port, v.binding};
  return seal_frame(SlotKeys::derive(pair.key, Slot::of(v.body.timestamp)), MaskKey(pair.inputs.mask), context, v.body,
                    v.nonce);
}

// What the frame is bound to comes first, then the frame, then the carrier around it.
Record make_record(const std::vector<Pair>& pairs, Random& random) {
  SpaVector v = SpaVector::draw(random);
  const std::size_t at = random.uniform(kPairs);
  const ByteBuffer record2 = random_record2(random);
  ByteBuffer dcid(8 + random.uniform(13));
  ByteBuffer scid(random.uniform(21));
  random.fill(dcid);
  random.fill(scid);
  v.binding = {};
  if (v.transport == Transport::kTcp) v.binding = ChannelBinding::of_record(record2);
  if (v.transport == Transport::kQuicToken) v.binding = ChannelBinding::of_connection_ids(dcid, scid);
  if (v.transport == Transport::kQuicToken) v.port = 0;
  const Frame frame = seal(pairs[at], v);

  Record record;
  switch (v.transport) {
    case Transport::kUdp: record.carrier = make_udp_carrier(frame); break;
    case Transport::kDns: record.carrier = make_dns_carrier(frame, pairs[at].suffix, random); break;
    case Transport::kTcp:
      record.carrier = make_tls_hello_record(frame, random);
      record.carrier.insert(record.carrier.end(), record2.begin(), record2.end());
      break;
    case Transport::kQuicToken: record.carrier = make_initial(frame, dcid, scid, random); break;
  }
  ByteBuffer head;
  ByteWriter writer(head);
  writer.write(static_cast<std::uint16_t>(at));
  writer.write(static_cast<std::uint8_t>(v.transport));
  writer.write(v.port);
  writer.write_bytes(v.binding.bytes);
  writer.write(static_cast<std::uint8_t>(v.body.version << 4 | static_cast<std::uint8_t>(v.body.type)));
  writer.write(v.body.flags);
  writer.write(v.body.key_generation);
  std::array<std::uint8_t, 8> millis{};
  store_be(millis.data(), static_cast<std::uint64_t>(v.body.timestamp.time_since_epoch().count()));
  writer.write_bytes(ByteView(millis).subspan(2));
  writer.write(v.body.knock_id);
  writer.write_bytes(v.body.tag);
  writer.write_bytes(v.nonce);
  writer.write_bytes(frame);
  writer.write(static_cast<std::uint8_t>(Verdict::kOpens));
  writer.write(static_cast<std::uint16_t>(record.carrier.size()));
  std::copy(head.begin(), head.end(), record.head.begin());
  return record;
}

struct Unpacked {
  Frame frame{};
  ChannelBinding binding;
};

std::optional<Unpacked> unpack_hello(ByteView bytes) {
  TlsHelloReader reader(Instant{});
  while (!bytes.empty()) {
    const std::size_t taken = reader.handle_bytes(Instant{}, bytes);
    if (taken == 0) break;
    bytes = bytes.subspan(taken);
  }
  if (reader.state() != TlsHelloReader::State::kComplete || !bytes.empty()) return std::nullopt;
  Unpacked out{{}, reader.binding()};
  std::copy(reader.frame().begin(), reader.frame().end(), out.frame.begin());
  return out;
}

std::optional<Unpacked> unpack(Transport transport, ByteView carrier, const Pair& pair) {
  std::optional<Frame> frame;
  switch (transport) {
    case Transport::kUdp: frame = parse_udp_carrier(carrier); break;
    case Transport::kDns: frame = parse_dns_carrier(carrier, pair.suffix); break;
    case Transport::kTcp: return unpack_hello(carrier);
    case Transport::kQuicToken: {
      const auto initial = parse_quic_initial(carrier);
      if (!initial) return std::nullopt;
      Unpacked out{{}, ChannelBinding::of_connection_ids(initial->dcid, initial->scid)};
      std::copy(initial->token.begin(), initial->token.end(), out.frame.begin());
      return out;
    }
  }
  if (!frame) return std::nullopt;
  return Unpacked{*frame, {}};
}

FrameBody body_of(const Record& record) {
  const std::uint8_t* at = record.head.data() + kBodyAt;
  FrameBody body;
  body.version = at[0] >> 4;
  body.type = static_cast<FrameType>(at[0] & 15);
  body.flags = at[1];
  body.key_generation = load_be<std::uint16_t>(at + 2);
  const std::uint64_t millis = load_be<std::uint64_t>(at + 2) & 0xffff'ffff'ffff;
  body.timestamp = WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(millis)));
  body.knock_id = load_be<std::uint16_t>(at + 10);
  std::copy_n(at + 12, body.tag.size(), body.tag.begin());
  return body;
}

// As a verifier would: carrier, hint, P, AEAD; then that it is what the record says.
bool agrees(const Record& record, const std::vector<Pair>& pairs) {
  const std::uint8_t* at = record.head.data();
  const Pair& pair = pairs.at(load_be<std::uint16_t>(at));
  const auto transport = static_cast<Transport>(at[2]);
  const auto expected = static_cast<Verdict>(at[kVerdictAt]);
  const auto unpacked = unpack(transport, record.carrier, pair);
  if (!unpacked || !std::equal(unpacked->frame.begin(), unpacked->frame.end(), at + kFrameAt)) return false;

  const FrameBody sealed = body_of(record);
  const SlotKeys keys = SlotKeys::derive(pair.key, Slot::of(sealed.timestamp));
  const FrameContext context{transport, pair.verifier, load_be<std::uint16_t>(at + 3), unpacked->binding};
  const auto body = open_frame(unpacked->frame, context, keys.aead.view());
  const bool plausible = unmask_hint(unpacked->frame, MaskKey(pair.inputs.mask)) == keys.hint &&
                         prefilter_matches(unpacked->frame, transport, keys.prefilter.view());
  switch (expected) {
    case Verdict::kRefused: return !plausible;
    case Verdict::kOpens: return plausible && body == sealed;
    case Verdict::kRefusedTwice: return !plausible && !body;
  }
  return false;
}

int check(const std::vector<Pair>& pairs) {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;
  Record record;
  while (std::fread(record.head.data(), 1, kHead, stdin) == kHead) {
    record.carrier.resize(load_be<std::uint16_t>(record.head.data() + kCarrierSizeAt));
    if (std::fread(record.carrier.data(), 1, record.carrier.size(), stdin) != record.carrier.size()) return 2;
    const bool opens = record.head[kVerdictAt] == static_cast<std::uint8_t>(Verdict::kOpens);
    if (!agrees(record, pairs)) {
      std::printf("record %llu: expected it %s\n", static_cast<unsigned long long>(accepted + refused),
                  opens ? "to open" : "to be refused");
      return 1;
    }
    ++(opens ? accepted : refused);
  }
  std::printf("opened %llu refused %llu\n", static_cast<unsigned long long>(accepted),
              static_cast<unsigned long long>(refused));
  return 0;
}

void write(const std::vector<Pair>& pairs, std::uint64_t seed, long count) {
  SeededRandom random(seed + 1);
  for (; count > 0; --count) {
    const Record record = make_record(pairs, random);
    std::fwrite(record.head.data(), 1, record.head.size(), stdout);
    std::fwrite(record.carrier.data(), 1, record.carrier.size(), stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::string mode = argv[1];
  const std::uint64_t seed = std::strtoull(argv[2], nullptr, 10);
  const std::vector<Pair> pairs = draw_pairs(seed);
  if (mode == "check") return check(pairs);
  if (mode == "write" && argc == 4) write(pairs, seed, std::atol(argv[3]));
  if (mode == "pairs") {
    for (const Pair& pair : pairs) std::puts(pair.inputs.line().c_str());
  }
  return 0;
}
