// SPDX-License-Identifier: Apache-2.0
// Bulk data over TLS costs this library less than one allocation in 256 KiB, none per packet or
// record. (BoringSSL has its own, one per record.) A program of its own, because it replaces
// operator new.
#include <cstdlib>
#include <new>

#include <catch2/catch_test_macros.hpp>

#include <natt/tunnel/tls_client.h>
#include <natt/tunnel/tls_server.h>

#include "support/test_pki.h"

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

using namespace natt;
using tunnel::StreamId;

namespace {

// A client and a gateway whose sockets take everything at once.
struct Pair {
  test::TestPki pki{"hq", 7};
  Instant now{std::chrono::seconds(1)};
  std::unique_ptr<TlsContext> of_client =
      std::move(TlsContext::make(pki.credentials(Role::kClient, "alice"), TlsDirection::kClient, "h2").value());
  std::unique_ptr<TlsContext> of_server =
      std::move(TlsContext::make(pki.credentials(Role::kGateway, "gw1"), TlsDirection::kServer, "h2").value());
  std::unique_ptr<tunnel::TlsServer> server = std::move(tunnel::TlsServer::make(*of_server).value());
  std::unique_ptr<tunnel::TlsClient> client =
      std::move(tunnel::TlsClient::make(now, test::kTestNow, *of_client,
                                        {{"hq", Role::kGateway, pki.identity(Role::kGateway, "gw1")}, {}})
                    .value());
  tunnel::ConnectionId connection =
      server->handle_connected(now, test::kTestNow, pki.identity(Role::kClient, "alice"), {}).value();
  std::vector<StreamId> requests;
  std::size_t received = 0;
  std::size_t datagrams = 0;

  void exchange() {
    for (bool moved = true; moved;) {
      const ByteView up = client->output(now);
      if (!up.empty()) server->handle_bytes(now, connection, up);
      client->consume_output(up.size());
      moved = !up.empty();
      take();
      const ByteView down = server->output(now, connection);
      if (!down.empty()) client->handle_bytes(now, down);
      moved = moved || !down.empty();
      server->consume_output(connection, down.size());
      while (client->poll_event()) {
      }
    }
  }

  void take() {
    while (const auto event = server->poll_event()) {
      if (const auto* const request = std::get_if<tunnel::Request>(&*event)) {
        server->accept(request->stream);
        requests.push_back(request->stream);
      }
      if (const auto* const readable = std::get_if<tunnel::Readable>(&*event)) {
        for (ByteView next = server->peek(readable->stream); !next.empty(); next = server->peek(readable->stream)) {
          received += next.size();
          server->consume(readable->stream, next.size());
        }
      }
    }
    while (server->poll_datagram()) ++datagrams;
  }

  // Megabytes of octets and thousands of datagrams; what it allocated.
  std::size_t load(StreamId tcp, StreamId udp, std::size_t rounds) {
    const std::size_t before = allocations;
    for (std::size_t round = 0; round < rounds; ++round) {
      for (MutableBytes room = client->reserve(tcp); !room.empty(); room = client->reserve(tcp)) {
        client->commit(tcp, room.size());
      }
      for (int i = 0; i < 50; ++i) static_cast<void>(client->send_datagram(udp, payload));
      exchange();
    }
    return allocations - before;
  }
  ByteBuffer payload = ByteBuffer(1200, 0x5a);
};

}  // namespace

TEST_CASE("tunnel over tls: bulk data and datagrams allocate nothing per packet", "[tunnel][tls]") {
  Pair pair;
  pair.exchange();
  const StreamId tcp = pair.client->open_tcp(tunnel::Authority::parse("10.0.0.1:1").value()).value();
  const StreamId udp = pair.client->open_udp(tunnel::Authority::parse("10.0.0.1:1").value()).value();
  pair.exchange();
  REQUIRE(pair.requests.size() == 2);
  static_cast<void>(pair.load(tcp, udp, 50));  // windows have grown, pools are filled
  const std::size_t octets = pair.received;
  const std::size_t datagrams = pair.datagrams;

  const std::size_t allocated = pair.load(tcp, udp, 100);

  const std::size_t flights = (pair.received - octets) / (64 * 1024);
  CAPTURE(allocated, flights, pair.datagrams - datagrams);
  CHECK(flights > 500);
  CHECK(pair.datagrams - datagrams == 5000);
  CHECK(allocated < flights / 4);
}
