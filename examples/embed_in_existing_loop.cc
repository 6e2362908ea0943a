// SPDX-License-Identifier: Apache-2.0
// A host application that already owns a libuv loop brings a whole natt client into it.
// The files are those that `nattctl init` writes for a device; here they are made on the
// spot, with no broker listening, so the program shows the life of the object and ends
// with the reason why nothing could be reached.
#include <uv.h>

#include <cstdio>

#include <natt/authority.h>
#include <natt/tunnel/uv/site_client.h>
#include <natt/uv/timer.h>

namespace {

using namespace natt;
using tunnel::uv::SiteClient;

// What the host application was doing all along.
struct HostApplication final : SiteClient::Listener {
  uv_loop_t loop{};
  uv_timer_t own_work{};
  int ticks = 0;
  bool answered = false;

  void on_stream_opened(Instant, tunnel::uv::StreamRequestId) override { answered = true; }
  void on_stream_failed(Instant, tunnel::uv::StreamRequestId, const tunnel::uv::StreamFailure& failure) override {
    std::printf("no stream: %s\n", failure.reason.c_str());
    answered = true;
    uv_stop(&loop);
  }
  bool persist_roster(const SignedRoster&) override { return true; }
};

// A site of one broker, one gateway and one client, all on this host.
SignedRoster make_roster(Authority& authority, const spa::KeyPair& key, Random& random) {
  Roster roster{.site = "hq", .number = 1, .issued_at = uv::wall_now(),
                .next_update = uv::wall_now() + std::chrono::hours(1), .devices = {}, .revoked = {}};
  const SocketAddress nobody{IpAddress::v4({127, 0, 0, 1}), 9};
  for (const auto& [role, name] : {std::pair(Role::kBroker, "b1"), std::pair(Role::kGateway, "gw1")}) {
    roster.devices.push_back({.identity = {"hq", role, name},
                              .spa_keys = {{1, spa::KeyPair::generate(random).public_key().bytes}},
                              .mask_key = Secret<16>(random.bytes<16>()),
                              .addresses = {nobody}});
  }
  roster.devices.push_back(
      {.identity = {"hq", Role::kClient, "alice"}, .spa_keys = {{1, key.public_key().bytes}}, .mask_key = {}, .addresses = {}});
  return authority.sign_roster(roster).value();
}

tunnel::uv::SiteClientOptions make_options(Random& random) {
  auto authority = Authority::create("hq", uv::wall_now(), random).value();
  const auto issued = authority->issue({"hq", Role::kClient, "alice"}, uv::wall_now(), kCertificateLifetime).value();
  auto key = spa::KeyPair::generate(random);
  auto roster = make_roster(*authority, key, random);
  return {.bind = {},
          .credentials =
              Credentials::from_pem(issued.certificate_pem, issued.key_pem, authority->certificate_pem()).value(),
          .spa_key = {1, std::move(key)},
          .psk = spa::SitePsk(random.bytes<32>()),
          .roster = std::move(roster),
          .race_timeout = std::chrono::seconds(1)};
}

}  // namespace

int main() {
  HostApplication host;
  uv_loop_init(&host.loop);
  uv_timer_init(&host.loop, &host.own_work);
  host.own_work.data = &host;
  uv_timer_start(&host.own_work, [](uv_timer_t* timer) { ++static_cast<HostApplication*>(timer->data)->ticks; }, 0, 20);

  SystemRandom random;
  auto client = SiteClient::open(host.loop, make_options(random), random, host);
  if (!client) {
    std::printf("%s\n", client.error().message.c_str());
    return 1;
  }
  static_cast<void>((*client)->open_stream(uv::now(), "gw1", {"intranet.example", 443}));

  uv_run(&host.loop, UV_RUN_DEFAULT);  // the host's own call, as ever

  (*client)->close(uv::now());
  client->reset();  // no callback of it runs from here on
  uv_close(reinterpret_cast<uv_handle_t*>(&host.own_work), nullptr);
  uv_run(&host.loop, UV_RUN_DEFAULT);
  std::printf("the host's own work ran %d times meanwhile\n", host.ticks);
  return uv_loop_close(&host.loop) == 0 && host.answered && host.ticks > 10 ? 0 : 1;
}
