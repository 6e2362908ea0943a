// SPDX-License-Identifier: Apache-2.0
#include "support/knock_key_file.h"

#include <algorithm>
#include <fstream>
#include <map>

namespace natt::test {
namespace {

using Lines = std::map<std::string, std::string>;

std::optional<ByteBuffer> from_hex(const std::string& text) {
  ByteBuffer octets;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    std::size_t used = 0;
    const unsigned long value = std::stoul(text.substr(at, 2), &used, 16);
    if (used != 2) return std::nullopt;
    octets.push_back(static_cast<std::uint8_t>(value));
  }
  return octets;
}

template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> octets_of(const Lines& lines, const std::string& name) {
  const auto line = lines.find(name);
  if (line == lines.end()) return std::nullopt;
  const auto octets = from_hex(line->second);
  if (!octets || octets->size() != N) return std::nullopt;
  std::array<std::uint8_t, N> out{};
  std::copy(octets->begin(), octets->end(), out.begin());
  return out;
}

std::optional<Identity> identity_of(const Lines& lines, const std::string& name) {
  const auto line = lines.find(name);
  return line == lines.end() ? std::nullopt : Identity::parse(line->second);
}

std::uint16_t number_of(const Lines& lines, const std::string& name) {
  const auto line = lines.find(name);
  return line == lines.end() ? std::uint16_t{0} : static_cast<std::uint16_t>(std::stoul(line->second));
}

void append(ByteBuffer& out, std::initializer_list<int> octets) {
  for (const int octet : octets) out.push_back(static_cast<std::uint8_t>(octet));
}

void append(ByteBuffer& out, ByteView octets) { out.insert(out.end(), octets.begin(), octets.end()); }

}  // namespace

std::unique_ptr<spa::Knocker> read_knocker(const std::string& path, Random& random) {
  Lines lines;
  std::ifstream file(path);
  for (std::string name, value; file >> name >> value;) lines[name] = value;
  const auto device = identity_of(lines, "device");
  const auto verifier = identity_of(lines, "verifier");
  const auto secret = octets_of<32>(lines, "secret");
  const auto peer = octets_of<32>(lines, "peer");
  const auto psk = octets_of<32>(lines, "psk");
  const auto mask = octets_of<16>(lines, "mask");
  if (!device || !verifier || !secret || !peer || !psk || !mask) return nullptr;
  const auto own = spa::KeyPair::from_secret(*secret);
  const auto pair = spa::PairKey::derive(own, spa::PublicKey{*peer}, spa::DeviceId::of(*device),
                                         spa::DeviceId::of(*verifier), spa::SitePsk(*psk));
  if (!pair) return nullptr;
  const spa::KnockerOptions options{.device = *device,
                                    .verifier = *verifier,
                                    .port = number_of(lines, "port"),
                                    .mask = spa::MaskKey(*mask),
                                    .key_generation = number_of(lines, "generation"),
                                    .dns_suffix = spa::DnsSuffix::of_site(spa::SitePsk(*psk))};
  return std::make_unique<spa::Knocker>(options, *pair, random);
}

ByteBuffer make_client_hello(Random& random) {
  ByteBuffer extensions;
  append(extensions, {0, 43, 0, 3, 2, 3, 4});                                  // supported_versions: TLS 1.3
  append(extensions, {0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1});                   // signature_algorithms
  append(extensions, {0, 10, 0, 4, 0, 2, 0, 29});                              // supported_groups: X25519
  append(extensions, {0, 51, 0, 38, 0, 36, 0, 29, 0, 32});                     // key_share: X25519
  append(extensions, random.bytes<32>());
  ByteBuffer body;
  append(body, {3, 3});
  append(body, random.bytes<32>());
  append(body, {0, 0, 2, 0x13, 1, 1, 0});  // no session id, TLS_AES_128_GCM_SHA256, no compression
  append(body, {0, static_cast<int>(extensions.size())});
  append(body, extensions);
  ByteBuffer record;
  const int size = static_cast<int>(body.size());
  append(record, {22, 3, 1, (size + 4) >> 8, (size + 4) & 255, 1, 0, size >> 8, size & 255});
  append(record, body);
  return record;
}

}  // namespace natt::test
