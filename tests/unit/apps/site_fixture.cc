// SPDX-License-Identifier: Apache-2.0
#include "unit/apps/site_fixture.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "apps/nattctl/registrar.h"
#include "support/seeded_random.h"
#include "unit/apps/temporary_folder.h"

namespace natt::test {
namespace {

struct DeviceTexts {
  std::array<std::string, 3> texts;
};

template <typename T>
T expect(Result<T> result) {
  if (!result) std::abort();
  return std::move(*result);
}

void expect(const Result<void>& result) {
  if (!result) std::abort();
}

DeviceTexts make_site(const std::string& name, std::uint64_t seed) {
  const TemporaryFolder temporary;
  SeededRandom random(seed);
  const auto folder = expect(ctl::SiteFolder::create(temporary.path() / "site"));
  ctl::SiteRecord record;
  record.name = name;
  record.first_broker = "b1";
  record.psk = Secret<32>(std::span<const std::uint8_t, 32>(random.bytes<32>()));
  record.allow = {"tcp/10.99.0.0/24:1-65535"};
  const auto registrar = expect(ctl::Registrar::create(*folder, std::move(record), kSiteTime, random));
  expect(registrar->enroll({Role::kBroker, "b1", {*SocketAddress::parse("198.51.100.10:443")}, 53}));
  expect(registrar->enroll(
      {.role = Role::kGateway, .name = "gw1", .addresses = {*SocketAddress::parse("203.0.113.7:443")}}));
  expect(registrar->enroll({.role = Role::kClient, .name = "alice", .addresses = {}}));
  expect(registrar->save());
  DeviceTexts texts;
  texts.texts = {expect(folder->read("broker.toml")), expect(folder->read("gateway-gw1.toml")),
                 expect(folder->read("client-alice.toml"))};
  return texts;
}

std::size_t index_of(Role role) { return static_cast<std::size_t>(role) - 1; }

}  // namespace

const std::string& device_text(Role role) {
  static const DeviceTexts texts = make_site("hq", 1);
  return texts.texts[index_of(role)];
}

const std::string& other_site_text(Role role) {
  static const DeviceTexts texts = make_site("lab", 2);
  return texts.texts[index_of(role)];
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) std::abort();
  return text.replace(at, from.size(), to);
}

std::size_t line_of(std::string_view text, std::string_view needle) {
  const std::string_view before = text.substr(0, text.find(needle));
  return 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
}

}  // namespace natt::test
