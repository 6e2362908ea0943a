// SPDX-License-Identifier: Apache-2.0
// An operator's text in front of a good [[site]], or alone, read by one of the three
// programs. Keys are made at start, so that no seed holds one. Whatever the complaint
// is, it names the file and does not quote the pre-shared key.
#include <cstdlib>
#include <string>

#include "apps/config/broker_config.h"
#include "apps/config/client_config.h"
#include "apps/config/duration_text.h"
#include "apps/config/gateway_config.h"
#include "unit/apps/site_fixture.h"

namespace {

using namespace natt;

void check(const Error& error, std::string_view psk) {
  if (!error.message.starts_with("/f.toml") || error.message.find(psk) != std::string::npos) std::abort();
}

template <typename Config>
void check(const Result<Config>& config, std::string_view psk) {
  if (!config) check(config.error(), psk);
}

void check_rule(const std::string& text) {
  const auto rule = gateway::parse_rule(text);
  if (rule && gateway::parse_rule(rule->text)->text != rule->text) std::abort();
  static_cast<void>(config::parse_duration(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto role = static_cast<Role>(1 + data[0] % 3);
  std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  check_rule(text);
  const std::string& device = test::device_text(role);
  const std::string psk = device.substr(device.find("psk = \"") + 7, 44);
  // Seeds start with "3", "1", "2" (broker, gateway, client: a file of its own) or "c", "a", "b"
  // (the same in front of a good site).
  if ((data[0] & 0x40) != 0) text += "\n" + device;
  switch (role) {
    case Role::kBroker: check(config::parse_broker_config(text, "/f.toml"), psk); break;
    case Role::kGateway: check(config::parse_gateway_config(text, "/f.toml"), psk); break;
    case Role::kClient: check(config::parse_client_config(text, "/f.toml"), psk); break;
  }
  return 0;
}
