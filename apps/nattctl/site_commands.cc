// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/site_commands.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <natt/random.h>

#include "apps/gateway/entitlement_rule.h"
#include "apps/nattctl/device_argument.h"
#include "apps/nattctl/registrar.h"

namespace natt::ctl {
namespace {

tl::unexpected<Error> complain(std::string message) {
  return fail(std::make_error_code(std::errc::invalid_argument), std::move(message));
}

WallTime clock_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return WallTime(std::chrono::duration_cast<std::chrono::milliseconds>(now));
}

Result<tunnel::TunnelProtocol> parse_protocol(const std::string& text) {
  if (text == "quic") return tunnel::TunnelProtocol::kQuic;
  if (text == "tls") return tunnel::TunnelProtocol::kTls;
  if (text == "dtls") {
    return complain(
        "--protocol: DTLS is not supported as site tunnel protocol with NAT traversal; select QUIC (quic) or TLS "
        "(tls)");
  }
  return complain(fmt::format("--protocol: \"{}\" is neither quic nor tls", text));
}

Result<config::SpaMode> parse_mode(const std::string& text, std::string_view option = "--spa-mode") {
  if (const auto mode = config::parse_spa_mode(text)) return *mode;
  return complain(fmt::format("{}: \"{}\" is neither udp-tcp nor tcp", option, text));
}

// Only brokers that are made at the same time can be named.
Result<void> read_broker_modes(const InitArguments& arguments, SiteRecord& record) {
  for (const std::string& text : arguments.broker_spa_modes) {
    const std::size_t equals = std::min(text.find('='), text.size());
    const std::string name = text.substr(0, equals);
    const auto named = [&name](const std::string& broker) { return broker.starts_with(name + "="); };
    if (name != arguments.broker_name && std::none_of(arguments.brokers.begin(), arguments.brokers.end(), named)) {
      return complain(fmt::format("--broker-spa-mode: \"{}\" names no broker of this command", text));
    }
    const auto mode = parse_mode(text.substr(std::min(equals + 1, text.size())), "--broker-spa-mode");
    if (!mode) return tl::unexpected(mode.error());
    record.broker_modes[name] = *mode;
  }
  return {};
}

Result<SiteRecord> make_record(const InitArguments& arguments, Random& random) {
  SiteRecord record;
  if (!is_valid_name(arguments.site)) {
    return complain(
        fmt::format("--site: \"{}\" is no site name: 1 to 63 characters out of a-z, 0-9 and -", arguments.site));
  }
  record.name = arguments.site;
  record.first_broker = arguments.broker_name;
  const auto protocol = parse_protocol(arguments.protocol);
  if (!protocol) return tl::unexpected(protocol.error());
  record.protocol = *protocol;
  const auto mode = parse_mode(arguments.spa_mode);
  if (!mode) return tl::unexpected(mode.error());
  record.spa_mode = *mode;
  if (auto modes = read_broker_modes(arguments, record); !modes) return tl::unexpected(std::move(modes.error()));
  for (const std::string& text : arguments.allow) {
    auto rule = gateway::parse_rule(text);
    if (!rule) return complain(fmt::format("--allow \"{}\": {}", text, rule.error().message));
    record.allow.push_back(std::move(rule->text));
  }
  record.psk = Secret<32>(std::span<const std::uint8_t, 32>(random.bytes<32>()));
  return record;
}

Result<std::vector<Enrollment>> broker_enrollments(const InitArguments& arguments) {
  std::vector<Enrollment> enrollments;
  const auto address = parse_address_argument(arguments.broker_address, "--broker-address");
  if (!address) return tl::unexpected(address.error());
  enrollments.push_back({Role::kBroker, arguments.broker_name, {*address}, arguments.broker_dns_port});
  for (const std::string& text : arguments.brokers) {
    auto broker = parse_device_argument(text, "--broker");
    if (!broker) return tl::unexpected(std::move(broker.error()));
    if (!broker->address) return complain(fmt::format("--broker: \"{}\" needs an address: NAME=ADDRESS", text));
    enrollments.push_back({Role::kBroker, broker->name, {*broker->address}, arguments.broker_dns_port});
  }
  return enrollments;
}

Result<std::vector<Enrollment>> gateway_enrollments(const InitArguments& arguments) {
  std::vector<Enrollment> enrollments;
  for (const std::string& text : arguments.gateways) {
    auto gateway = parse_device_argument(text, "--gateway");
    if (!gateway) return tl::unexpected(std::move(gateway.error()));
    Enrollment enrollment{.role = Role::kGateway, .name = gateway->name, .addresses = {}};
    if (gateway->address) enrollment.addresses.push_back(*gateway->address);
    enrollments.push_back(std::move(enrollment));
  }
  if (arguments.gateway_address.empty()) return enrollments;
  if (enrollments.size() != 1) {
    return complain("--gateway-address: goes with exactly one --gateway; write --gateway NAME=ADDRESS for several");
  }
  const auto address = parse_address_argument(arguments.gateway_address, "--gateway-address");
  if (!address) return tl::unexpected(address.error());
  enrollments.front().addresses.push_back(*address);
  return enrollments;
}

Result<void> enroll_all(Registrar& registrar, const InitArguments& arguments) {
  auto enrollments = broker_enrollments(arguments);
  if (!enrollments) return tl::unexpected(std::move(enrollments.error()));
  const auto gateways = gateway_enrollments(arguments);
  if (!gateways) return tl::unexpected(gateways.error());
  enrollments->insert(enrollments->end(), gateways->begin(), gateways->end());
  for (const std::string& name : arguments.clients) {
    enrollments->push_back({.role = Role::kClient, .name = name, .addresses = {}});
  }
  for (const Enrollment& enrollment : *enrollments) {
    if (auto enrolled = registrar.enroll(enrollment); !enrolled) return enrolled;
  }
  return {};
}

std::string files_text(const Registrar& registrar, const std::filesystem::path& dir) {
  std::string text = fmt::format("site {}: {} devices, roster number {}\n", registrar.record().name,
                                 registrar.roster().devices.size(), registrar.roster().number);
  for (const RosterDevice& device : registrar.roster().devices) {
    text += fmt::format("  {:8} {:20} {}\n", to_string(device.identity.role), device.identity.name,
                        (dir / registrar.file_of(device.identity)).string());
  }
  return text;
}

// Opens the site, lets `change` work on it and saves. The folder stays locked meanwhile.
template <typename Change>
Result<std::string> with_site(const std::filesystem::path& dir, Change change) {
  auto folder = SiteFolder::open(dir);
  if (!folder) return tl::unexpected(std::move(folder.error()));
  SystemRandom random;
  auto registrar = Registrar::open(**folder, clock_now(), random);
  if (!registrar) return tl::unexpected(std::move(registrar.error()));
  return change(**registrar);
}

std::string roster_text(const Registrar& registrar, const std::filesystem::path& dir) {
  return fmt::format("roster number {} is in {}; copy it beside the broker's file, which passes it on\n",
                     registrar.roster().number, (dir / "roster").string());
}

std::string generations(const std::vector<std::uint16_t>& numbers) {
  return fmt::format("SPA key generation{} {}", numbers.size() == 1 ? "" : "s", fmt::join(numbers, ", "));
}

// Devices look for the newest key that the roster lists, so a broker or gateway has to have its file before others have the
// roster.
std::string renewal_text(const Registrar& registrar, const Identity& identity, const Renewal& renewal,
                         const std::filesystem::path& dir) {
  const std::string file = (dir / registrar.file_of(identity)).string();
  std::string text = fmt::format("renewed {}: SPA key generation {}\n", identity.uri(), renewal.generation);
  if (identity.role == Role::kBroker) {
    text += fmt::format("copy {} to its host, which takes it over while it runs and passes the new roster on\n", file);
  } else if (identity.role == Role::kGateway) {
    text += fmt::format("copy {} to its host, which takes it over while it runs\nthen ", file) +
            roster_text(registrar, dir);
  } else {
    text += roster_text(registrar, dir) + fmt::format("then copy {} to its host\n", file);
  }
  if (!renewal.kept.empty()) {
    text += fmt::format("{} until generation {} was used\n", generations(renewal.kept) + " still works",
                        renewal.generation);
  }
  if (!renewal.dropped.empty()) {
    text += fmt::format("{} works no more: {}\n", generations(renewal.dropped),
                        identity.role == Role::kClient ? "the device has missed three renewals if it still used it"
                                                       : "devices that were off since before the last renewal need new "
                                                         "files");
  }
  return text;
}

Result<Enrollment> enrollment_of(const EnrollArguments& arguments) {
  if (!arguments.client.empty() && !arguments.spa_mode.empty()) return complain("--spa-mode: goes with --broker");
  if (!arguments.client.empty()) return Enrollment{.role = Role::kClient, .name = arguments.client, .addresses = {}};
  const bool is_gateway = !arguments.gateway.empty();
  auto device =
      parse_device_argument(is_gateway ? arguments.gateway : arguments.broker, is_gateway ? "--gateway" : "--broker");
  if (!device) return tl::unexpected(std::move(device.error()));
  if (!is_gateway && !device->address) return complain("--broker: needs an address: NAME=ADDRESS");
  Enrollment enrollment{.role = is_gateway ? Role::kGateway : Role::kBroker,
                        .name = std::move(device->name),
                        .addresses = {},
                        .dns_port = arguments.broker_dns_port};
  if (!arguments.spa_mode.empty() && is_gateway) return complain("--spa-mode: goes with --broker");
  if (!arguments.spa_mode.empty()) {
    const auto mode = parse_mode(arguments.spa_mode);
    if (!mode) return tl::unexpected(mode.error());
    enrollment.spa_mode = *mode;
  }
  if (device->address) enrollment.addresses.push_back(*device->address);
  return enrollment;
}

}  // namespace

Result<std::string> run_init(const InitArguments& arguments) {
  SystemRandom random;
  // Everything that can be wrong with the command line is found before the folder is touched.
  auto record = make_record(arguments, random);
  if (!record) return tl::unexpected(std::move(record.error()));
  auto folder = SiteFolder::create(arguments.dir);
  if (!folder) return tl::unexpected(std::move(folder.error()));
  auto registrar = Registrar::create(**folder, std::move(*record), clock_now(), random);
  if (!registrar) return tl::unexpected(std::move(registrar.error()));
  if (auto enrolled = enroll_all(**registrar, arguments); !enrolled) return tl::unexpected(std::move(enrolled.error()));
  for (const RosterDevice& device : (*registrar)->roster().devices) {
    const std::string name = (*registrar)->file_of(device.identity);
    if ((*folder)->has(name)) {
      return complain(fmt::format("{}: is there already; name a new folder", (arguments.dir / name).string()));
    }
  }
  if (auto saved = (*registrar)->save(); !saved) return tl::unexpected(std::move(saved.error()));
  std::string text = files_text(**registrar, arguments.dir);
  if (arguments.allow.empty() && !arguments.gateways.empty()) {
    text += "no --allow was given: clients reach nothing until the gateway's file has an [[entitlement]]\n";
  }
  return text;
}

Result<std::string> run_enroll(const EnrollArguments& arguments) {
  const auto enrollment = enrollment_of(arguments);
  if (!enrollment) return tl::unexpected(enrollment.error());
  return with_site(arguments.dir, [&](Registrar& registrar) -> Result<std::string> {
    const Identity identity{registrar.record().name, enrollment->role, enrollment->name};
    auto done = registrar.enroll(*enrollment);
    if (done) done = registrar.save();
    if (!done) return tl::unexpected(std::move(done.error()));
    std::string text = fmt::format("enrolled {}: copy {} to its host\n", identity.uri(),
                                   (arguments.dir / registrar.file_of(identity)).string());
    if (identity.role == Role::kGateway && registrar.record().allow.empty()) {
      text += "nothing is allowed: clients reach nothing until its file has an [[entitlement]]\n";
    }
    return text + roster_text(registrar, arguments.dir);
  });
}

Result<std::string> run_renew(const std::filesystem::path& dir, const std::string& name) {
  return with_site(dir, [&](Registrar& registrar) -> Result<std::string> {
    const auto identity = registrar.find(name);
    if (!identity) return tl::unexpected(identity.error());
    const auto renewal = registrar.renew(*identity);
    if (!renewal) return tl::unexpected(renewal.error());
    if (auto saved = registrar.save(); !saved) return tl::unexpected(std::move(saved.error()));
    return renewal_text(registrar, *identity, *renewal, dir);
  });
}

Result<std::string> run_retire(const std::filesystem::path& dir, const std::string& name) {
  return with_site(dir, [&](Registrar& registrar) -> Result<std::string> {
    const auto identity = registrar.find(name);
    if (!identity) return tl::unexpected(identity.error());
    const auto retired = registrar.retire(*identity);
    if (!retired) return tl::unexpected(retired.error());
    if (retired->empty()) return fmt::format("{} has one SPA key: nothing to retire\n", identity->uri());
    if (auto saved = registrar.save(); !saved) return tl::unexpected(std::move(saved.error()));
    return fmt::format("retired {} of {}\n{}", generations(*retired), identity->uri(), roster_text(registrar, dir));
  });
}

Result<std::string> run_revoke(const std::filesystem::path& dir, const std::string& name) {
  return with_site(dir, [&](Registrar& registrar) -> Result<std::string> {
    if (registrar.was_revoked(name)) {
      return fmt::format("{} is revoked already\n{}", name, roster_text(registrar, dir));
    }
    const auto identity = registrar.find(name);
    if (!identity) return tl::unexpected(identity.error());
    auto done = registrar.revoke(*identity);
    if (done) done = registrar.save();
    if (!done) return tl::unexpected(std::move(done.error()));
    return fmt::format("revoked {}; its file {} is worthless now\n{}", identity->uri(),
                       (dir / registrar.file_of(*identity)).string(), roster_text(registrar, dir));
  });
}

Result<std::string> run_sign(const std::filesystem::path& dir) {
  return with_site(dir, [&](Registrar& registrar) -> Result<std::string> {
    if (auto saved = registrar.save(); !saved) return tl::unexpected(std::move(saved.error()));
    return roster_text(registrar, dir);
  });
}

}  // namespace natt::ctl
