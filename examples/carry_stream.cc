// SPDX-License-Identifier: Apache-2.0
// libtunnel inside a program of your own: your sockets, your poll loop, your clocks. A client
// and a gateway in one program carry a TCP stream's bytes through QUIC over loopback UDP; the
// gateway sends them back in capitals. libtunnel itself opens no socket and reads no clock.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdio>

#include <natt/authority.h>
#include <natt/credentials.h>
#include <natt/tunnel/client.h>
#include <natt/tunnel/server.h>

using namespace natt;
using namespace natt::tunnel;

namespace {
const Identity kAlice{"hq", Role::kClient, "alice"};
const Identity kGateway{"hq", Role::kGateway, "gw1"};
constexpr PathId kPath{1};  // there is one path here; natt/path_table.h tells many apart
Instant now() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }
WallTime wall_now() {
  return WallTime(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()));
}

std::array<int, 2> connected_pair() {  // UDP on loopback
  const std::array<int, 2> sockets{socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET, SOCK_DGRAM, 0)};
  sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};  // port 0: the kernel chooses
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  bind(sockets[0], raw, size);
  for (const std::size_t i : {0U, 1U}) {
    if (getsockname(sockets[i], raw, &size) == 0) connect(sockets[1 - i], raw, size);
  }
  return sockets;
}

// Admits alice. A real gate opens the SPA frame in `initial.token` (natt/spa/verifier.h).
struct Gate final : InitialGate {
  std::optional<Admission> admit(Instant, const InitialInfo&, PathId) override {
    std::optional<Admission> admission(std::in_place);
    admission->identity = kAlice;
    admission->expectation.site = "hq";
    admission->wall_now = wall_now();
    return admission;
  }
};

// One end's turn: handle what has come, then send what the core has.
template <typename Core>
void turn(int socket, Core& core) {
  std::array<std::uint8_t, 2048> buffer{};
  for (ssize_t size = 0; (size = recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0;)
    core.handle_packet(now(), kPath, 0, ByteView(buffer).first(static_cast<std::size_t>(size)));
  if (const auto deadline = core.next_deadline(); deadline && *deadline <= now()) core.handle_timeout(now());
  for (PacketBatch batch; core.poll_batch(now(), batch);)
    for (std::size_t i = 0; i < batch.count(); ++i) send(socket, batch.packet(i).data(), batch.packet(i).size(), 0);
}

void serve(Server& server) {
  while (const auto event = server.poll_event()) {
    if (const auto* request = std::get_if<Request>(&*event)) server.accept(request->stream);
    if (const auto* finished = std::get_if<Finished>(&*event)) server.shutdown_write(finished->stream);
    if (const auto* readable = std::get_if<Readable>(&*event)) {
      ByteBuffer capitals;
      for (const std::uint8_t octet : server.peek(readable->stream)) capitals.push_back(octet & 0xdf);
      server.consume(readable->stream, capitals.size());
      static_cast<void>(server.write(readable->stream, capitals));  // so short that it fits the buffer
    }
  }
}

bool use(Client& client) {  // false once the stream has come back whole
  while (const auto event = client.poll_event()) {
    if (std::holds_alternative<Finished>(*event) || std::holds_alternative<ConnectionClosed>(*event)) return false;
    if (std::holds_alternative<Connected>(*event)) {
      const auto stream = client.open_tcp(*tunnel::Authority::parse("db.example:5432"));
      static_cast<void>(client.write(*stream, as_bytes("throughTheTunnel")));
      client.shutdown_write(*stream);
    } else if (const auto* readable = std::get_if<Readable>(&*event)) {
      std::printf("received: %s\n", std::string(as_text(client.peek(readable->stream))).c_str());
      client.consume(readable->stream, client.peek(readable->stream).size());
    }
  }
  return true;
}

std::unique_ptr<TlsContext> make_tls(natt::Authority& site, const Identity& who, TlsDirection direction) {
  const auto issued = site.issue(who, wall_now(), std::chrono::hours(1)).value();
  return std::move(*TlsContext::make(*Credentials::from_pem(issued.certificate_pem, issued.key_pem, site.certificate_pem()), direction, "h3"));
}
}  // namespace

int main() {
  SystemRandom random;
  const auto site = std::move(*natt::Authority::create("hq", wall_now(), random));
  const auto client_tls = make_tls(*site, kAlice, TlsDirection::kClient);
  const auto gateway_tls = make_tls(*site, kGateway, TlsDirection::kServer);
  Gate gate;
  const spa::ConnectionIdKey ids(random);
  const auto server = std::move(*Server::make(*gateway_tls, gate, ids, random));
  ClientOptions options;
  options.expectation.site = "hq";
  options.expectation.identity = kGateway;
  options.token = random.bytes<64>();  // the SPA frame
  options.dcid = options.scid = ByteBuffer(16, 1);  // random ones in earnest
  options.path = kPath;
  const auto client = std::move(*Client::make(now(), wall_now(), *client_tls, random, options));

  const std::array<int, 2> sockets = connected_pair();
  pollfd polled[] = {{sockets[0], POLLIN, 0}, {sockets[1], POLLIN, 0}};
  for (; use(*client); poll(polled, 2, 1)) {
    turn(sockets[0], *client);
    turn(sockets[1], *server);
    serve(*server);
  }
}
