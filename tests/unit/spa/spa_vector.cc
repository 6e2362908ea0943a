// SPDX-License-Identifier: Apache-2.0
#include "spa_vector.h"

#include <map>
#include <sstream>

#include <natt/spa/dns_carrier.h>
#include <natt/spa/tls_hello_carrier.h>
#include <natt/spa/udp_carrier.h>

namespace natt::test {
namespace {

std::string hex(ByteView bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

template <std::size_t N>
void from_hex(const std::string& text, std::array<std::uint8_t, N>& out) {
  if (text.size() != 2 * N) return;
  for (std::size_t i = 0; i < N; ++i) {
    out[i] = static_cast<std::uint8_t>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
}

using Fields = std::map<std::string, std::string>;

Fields split(const std::string& line) {
  Fields fields;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    if (equals != std::string::npos) fields[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return fields;
}

template <typename T>
T number(const Fields& fields, const char* name) {
  const auto found = fields.find(name);
  return found == fields.end() ? T{} : static_cast<T>(std::stoull(found->second));
}

// What a vector's DNS query draws: the nonce's first octets stand for its id and type.
class NonceRandom final : public Random {
 public:
  explicit NonceRandom(const spa::Nonce& nonce) : nonce_(nonce) {}
  void fill(MutableBytes out) override { std::copy_n(nonce_.begin(), std::min(out.size(), nonce_.size()), out.begin()); }

 private:
  const spa::Nonce& nonce_;
};

}  // namespace

SpaVector SpaVector::draw(Random& random) {
  SpaVector vector;
  vector.device = {"hq", random.uniform(2) == 0 ? Role::kClient : Role::kGateway,
                   "d" + std::to_string(random.uniform(1000))};
  vector.verifier = {"hq", Role::kBroker, "b" + std::to_string(random.uniform(10))};
  random.fill(vector.device_secret);
  random.fill(vector.verifier_secret);
  random.fill(vector.psk);
  random.fill(vector.mask);
  vector.transport = static_cast<spa::Transport>(1 + random.uniform(4));
  vector.port = static_cast<std::uint16_t>(random.uniform(65536));
  random.fill(vector.binding.bytes);
  vector.body.type = static_cast<spa::FrameType>(1 + random.uniform(3));
  vector.body.flags = static_cast<std::uint8_t>(random.uniform(256));
  vector.body.key_generation = static_cast<std::uint16_t>(random.uniform(65536));
  vector.body.timestamp = WallTime(std::chrono::milliseconds(random.uniform(1ull << 48)));
  vector.body.knock_id = static_cast<std::uint16_t>(random.uniform(65536));
  random.fill(vector.body.tag);
  random.fill(vector.nonce);
  return vector;
}

std::optional<SpaVector> SpaVector::parse(const std::string& line) {
  Fields fields = split(line);
  const auto device = Identity::parse(fields["device"]);
  const auto verifier = Identity::parse(fields["verifier"]);
  if (!device || !verifier) return std::nullopt;
  SpaVector vector{.device = *device, .verifier = *verifier};
  from_hex(fields["device_secret"], vector.device_secret);
  from_hex(fields["verifier_secret"], vector.verifier_secret);
  from_hex(fields["psk"], vector.psk);
  from_hex(fields["mask"], vector.mask);
  vector.transport = number<spa::Transport>(fields, "tr");
  vector.port = number<std::uint16_t>(fields, "port");
  from_hex(fields["cb"], vector.binding.bytes);
  vector.body.type = number<spa::FrameType>(fields, "type");
  vector.body.flags = number<std::uint8_t>(fields, "flags");
  vector.body.key_generation = number<std::uint16_t>(fields, "generation");
  vector.body.timestamp = WallTime(std::chrono::milliseconds(number<std::int64_t>(fields, "unix_ms")));
  vector.body.knock_id = number<std::uint16_t>(fields, "knock_id");
  from_hex(fields["tag"], vector.body.tag);
  from_hex(fields["nonce"], vector.nonce);
  return vector;
}

std::string SpaVector::line() const {
  const auto own = spa::KeyPair::from_secret(device_secret);
  const auto peer = spa::KeyPair::from_secret(verifier_secret);
  const auto device_id = spa::DeviceId::of(device);
  const auto verifier_id = spa::DeviceId::of(verifier);
  const auto pair = spa::PairKey::derive(own, peer.public_key(), device_id, verifier_id, spa::SitePsk(psk));
  const auto slot = spa::Slot::of(body.timestamp);
  const auto keys = spa::SlotKeys::derive(*pair, slot);
  const spa::FrameContext context{transport, verifier_id, port, binding};
  const auto frame = spa::seal_frame(keys, spa::MaskKey(mask), context, body, nonce);
  const auto suffix = spa::DnsSuffix::of_site(spa::SitePsk(psk));
  NonceRandom random(nonce);

  std::ostringstream out;
  out << "device=" << device.uri() << " verifier=" << verifier.uri() << " device_secret=" << hex(device_secret)
      << " verifier_secret=" << hex(verifier_secret) << " psk=" << hex(psk) << " mask=" << hex(mask)
      << " tr=" << static_cast<int>(transport) << " port=" << port << " cb=" << hex(binding.bytes)
      << " type=" << static_cast<int>(body.type) << " flags=" << static_cast<int>(body.flags)
      << " generation=" << body.key_generation << " unix_ms=" << body.timestamp.time_since_epoch().count()
      << " knock_id=" << body.knock_id << " tag=" << hex(body.tag) << " nonce=" << hex(nonce)
      << " device_public=" << hex(own.public_key().bytes) << " verifier_public=" << hex(peer.public_key().bytes)
      << " K=" << hex(pair->bytes.view()) << " slot=" << slot.number << " A=" << hex(keys.aead.view())
      << " B=" << hex(keys.address.view()) << " H=" << hex(keys.hint) << " Q=" << hex(keys.prefilter.view())
      << " address_tag=" << hex(spa::make_address_tag(keys.address, IpAddress::v4({192, 0, 2, 7})))
      << " cid_cb=" << hex(spa::ChannelBinding::of_connection_ids(ByteView(psk).first(8), ByteView(mask)).bytes)
      << " frame=" << hex(frame) << " udp=" << hex(spa::make_udp_carrier(frame)) << " suffix=" << suffix.text()
      << " dns=" << hex(spa::make_dns_carrier(frame, suffix, random));
  return out.str();
}

}  // namespace natt::test
