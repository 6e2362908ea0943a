// SPDX-License-Identifier: Apache-2.0
#include <natt/tls_stream.h>

#include <openssl/ssl.h>
#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "support/test_pki.h"

using namespace natt;
using natt::test::kTestNow;
using natt::test::TestPki;
using State = TlsStream::State;

namespace {

std::unique_ptr<TlsContext> context(const Credentials& credentials, TlsDirection direction, const char* alpn = "") {
  auto made = TlsContext::make(credentials, direction, alpn);
  REQUIRE(made);
  return std::move(*made);
}

PeerExpectation expect(const char* site, Role role) { return {.site = site, .role = role, .identity = {}}; }

// A client and a server, and the bytes between them.
struct Pair {
  std::unique_ptr<TlsContext> client_context;
  std::unique_ptr<TlsContext> server_context;
  std::unique_ptr<TlsStream> client;
  std::unique_ptr<TlsStream> server;

  Pair(const Credentials& of_client, const Credentials& of_server, const PeerExpectation& client_expects,
       const PeerExpectation& server_expects, WallTime client_now = kTestNow, WallTime server_now = kTestNow)
      : client_context(context(of_client, TlsDirection::kClient)),
        server_context(context(of_server, TlsDirection::kServer)) {
    auto connecting = TlsStream::connect(*client_context, client_expects, client_now);
    auto accepting = TlsStream::accept(*server_context, server_expects, server_now);
    REQUIRE((connecting && accepting));
    client = std::move(*connecting);
    server = std::move(*accepting);
  }

  void run(std::size_t piece = 100'000) {
    bool moved = true;
    while (moved) {
      moved = carry(*client, *server, piece);
      moved = carry(*server, *client, piece) || moved;
    }
  }

  static bool carry(TlsStream& from, TlsStream& to, std::size_t piece) {
    const ByteBuffer bytes = from.take_ciphertext();
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      to.handle_bytes(ByteView(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    return !bytes.empty();
  }
};

Pair good_pair(TestPki& site) {
  return Pair(site.credentials(Role::kClient, "alice"), site.credentials(Role::kGateway, "gw1"),
              expect("hq", Role::kGateway), expect("hq", Role::kClient));
}

// A client of BoringSSL's own, which does what TlsStream never does.
class RawClient {
 public:
  explicit RawClient(const TlsContext& context) : ssl_(SSL_new(context.native())) {
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_custom_verify(ssl_.get(), SSL_VERIFY_PEER, [](SSL*, std::uint8_t*) { return ssl_verify_ok; });
    SSL_set_connect_state(ssl_.get());
  }

  void run(TlsStream& server) {
    for (int turn = 0; turn < 4; ++turn) {
      static_cast<void>(SSL_do_handshake(ssl_.get()));
      flush(server);
      const ByteBuffer answer = server.take_ciphertext();
      BIO_write(SSL_get_rbio(ssl_.get()), answer.data(), static_cast<int>(answer.size()));
    }
  }
  // A KeyUpdate of its own (RFC 8446 section 4.6.3), and nothing behind it.
  void update_key(TlsStream& server) {
    REQUIRE(SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
    // It goes with the next write; an empty one is none.
    static_cast<void>(SSL_write(ssl_.get(), "", 0));
    flush(server);
  }
  void write(TlsStream& server, std::string_view text) {
    REQUIRE(SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) > 0);
    flush(server);
  }

 private:
  void flush(TlsStream& server) {
    const std::uint8_t* bytes = nullptr;
    std::size_t size = 0;
    REQUIRE(BIO_mem_contents(SSL_get_wbio(ssl_.get()), &bytes, &size) == 1);
    server.handle_bytes({bytes, size});
    REQUIRE(BIO_reset(SSL_get_wbio(ssl_.get())) == 1);
  }

  bssl::UniquePtr<SSL> ssl_;
};

}  // namespace

TEST_CASE("tls: two devices of a site verify each other and exchange bytes", "[natt][tls]") {
  TestPki site;
  Pair pair = good_pair(site);

  pair.run(1);  // an octet at a time

  REQUIRE(pair.client->state() == State::kOpen);
  REQUIRE(pair.server->state() == State::kOpen);
  CHECK(pair.client->peer()->identity().name == "gw1");
  CHECK(pair.server->peer()->identity().name == "alice");
  CHECK(pair.server->peer()->serial() == site.credentials(Role::kClient, "alice").serial());
  const ByteBuffer large(100'000, 0x5a);
  pair.client->write(as_bytes("hello"));
  pair.server->write(large);
  pair.run();
  CHECK(as_text(pair.server->take_plaintext()) == "hello");
  CHECK(pair.client->take_plaintext() == large);
}

TEST_CASE("tls: the client's first output is one ClientHello record without name or ALPN", "[natt][tls]") {
  TestPki site;
  Pair pair = good_pair(site);

  const ByteBuffer hello = pair.client->take_ciphertext();

  REQUIRE(hello.size() > 9);
  CHECK(hello[0] == 22);
  CHECK(hello[5] == 1);
  CHECK(load_be<std::uint16_t>(&hello[3]) == hello.size() - 5);
  CHECK(hello.size() <= 4096);
  // Extensions: session id (1 + 32), cipher suites, compression methods, then type and length each.
  ByteReader reader(ByteView(hello).subspan(5 + 4 + 2 + 32));
  REQUIRE(reader.read_bytes(*reader.read<std::uint8_t>()));
  REQUIRE(reader.read_bytes(*reader.read<std::uint16_t>()));
  REQUIRE(reader.read_bytes(*reader.read<std::uint8_t>()));
  REQUIRE(reader.read<std::uint16_t>());
  while (const auto type = reader.read<std::uint16_t>()) {
    CHECK(*type != 0);   // server_name
    CHECK(*type != 16);  // application_layer_protocol_negotiation
    CHECK(*type != 42);  // early_data
    CHECK(*type != 41);  // pre_shared_key
    REQUIRE(reader.read_bytes(*reader.read<std::uint16_t>()));
  }
}

TEST_CASE("tls: version 1.3 with the hybrid group, and nothing to resume", "[natt][tls]") {
  TestPki site;
  const auto client = context(site.credentials(Role::kClient, "alice"), TlsDirection::kClient);

  const bssl::UniquePtr<SSL> ssl(SSL_new(client->native()));

  CHECK(SSL_CTX_get_min_proto_version(client->native()) == TLS1_3_VERSION);
  CHECK(SSL_CTX_get_max_proto_version(client->native()) == TLS1_3_VERSION);
  CHECK(SSL_CTX_get_session_cache_mode(client->native()) == SSL_SESS_CACHE_OFF);
  Pair pair = good_pair(site);
  const ByteBuffer hello = pair.client->take_ciphertext();
  // A key share of X25519Kyber768Draft00 makes the hello larger than any classic one.
  CHECK(hello.size() > 1200);
}

TEST_CASE("tls: the server's first flight carries no session ticket after the handshake", "[natt][tls]") {
  TestPki site;
  Pair pair = good_pair(site);
  pair.run();
  REQUIRE(pair.server->state() == State::kOpen);

  pair.client->write(as_bytes("x"));
  pair.run();

  CHECK(pair.server->pending_ciphertext() == 0);
}

TEST_CASE("tls: each side says why it refuses the other", "[natt][tls]") {
  TestPki site;
  TestPki namesake("hq", 2);
  const Credentials& alice = site.credentials(Role::kClient, "alice");
  const Credentials& gateway = site.credentials(Role::kGateway, "gw1");
  const PeerExpectation a_gateway = expect("hq", Role::kGateway);
  const PeerExpectation a_client = expect("hq", Role::kClient);

  SECTION("the server is of another CA") {
    Pair pair(alice, namesake.credentials(Role::kGateway, "gw1"), a_gateway, a_client);
    pair.run();
    CHECK(pair.client->error().code == Errc::kUntrusted);
    CHECK(pair.client->error().message.find("another CA") != std::string::npos);
    CHECK(pair.server->error().message == "the peer trusts another CA than the one of this certificate");
  }
  SECTION("the client is of another CA") {
    Pair pair(namesake.credentials(Role::kClient, "alice"), gateway, a_gateway, a_client);
    // The client checks first: let it accept, so that the server decides.
    Pair lenient(namesake.credentials(Role::kClient, "alice"), namesake.credentials(Role::kGateway, "gw1"), a_gateway,
                 a_client);
    pair.run();
    lenient.run();
    CHECK(pair.client->state() == State::kFailed);
    CHECK(lenient.client->state() == State::kOpen);
  }
  SECTION("the server has another role") {
    Pair pair(alice, site.credentials(Role::kBroker, "b1"), a_gateway, a_client);
    pair.run();
    CHECK(pair.client->error().code == Errc::kWrongIdentity);
    CHECK(pair.client->error().message.find("wrong role") == 0);
    CHECK(pair.server->error().message == "the peer expects another identity than this device's");
  }
  SECTION("the client has another role") {
    Pair pair(gateway, gateway, a_gateway, a_client);
    pair.run();
    CHECK(pair.server->error().message.find("wrong role") == 0);
    CHECK(pair.client->state() == State::kFailed);
    CHECK(pair.client->error().code == Errc::kWrongIdentity);
  }
  SECTION("the client has another name") {
    Pair pair(alice, gateway, a_gateway,
              {.site = "hq", .role = Role::kClient, .identity = Identity{"hq", Role::kClient, "bob"}});
    pair.run();
    CHECK(pair.server->error().message.find("wrong identity") == 0);
    CHECK_FALSE(pair.server->peer());
  }
  SECTION("the server's certificate expired") {
    Pair pair(alice, gateway, a_gateway, a_client, kTestNow + kCertificateLifetime + std::chrono::hours(1));
    pair.run();
    CHECK(pair.client->error().code == Errc::kExpired);
    CHECK(pair.server->error().code == Errc::kExpired);
  }
  SECTION("the client's certificate is expired for the server's clock") {
    Pair pair(alice, gateway, a_gateway, a_client, kTestNow, kTestNow + kCertificateLifetime + std::chrono::hours(1));
    pair.run();
    CHECK(pair.server->error().code == Errc::kExpired);
    CHECK(pair.client->error().code == Errc::kExpired);
  }
}

TEST_CASE("tls: without an expectation every peer is refused", "[natt][tls]") {
  TestPki site;
  const auto client = context(site.credentials(Role::kClient, "alice"), TlsDirection::kClient);
  const auto server = context(site.credentials(Role::kGateway, "gw1"), TlsDirection::kServer);
  auto accepting = TlsStream::accept(*server, expect("hq", Role::kClient), kTestNow);
  const bssl::UniquePtr<SSL> ssl(SSL_new(client->native()));
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_connect_state(ssl.get());

  int result = 0;
  for (int round = 0; round < 4; ++round) {
    result = SSL_do_handshake(ssl.get());
    const std::uint8_t* bytes = nullptr;
    std::size_t size = 0;
    BIO_mem_contents(SSL_get_wbio(ssl.get()), &bytes, &size);
    (*accepting)->handle_bytes({bytes, size});
    BIO_reset(SSL_get_wbio(ssl.get()));
    const ByteBuffer back = (*accepting)->take_ciphertext();
    BIO_write(SSL_get_rbio(ssl.get()), back.data(), static_cast<int>(back.size()));
  }

  CHECK(result != 1);
  CHECK_FALSE(peer_identity(ssl.get()));
  CHECK(handshake_error(ssl.get()).code == Errc::kCrypto);
}

TEST_CASE("tls: close_notify ends the stream after what was written", "[natt][tls]") {
  TestPki site;
  Pair pair = good_pair(site);
  pair.run();

  pair.client->write(as_bytes("last"));
  pair.client->close();
  pair.run();

  CHECK(pair.server->state() == State::kClosed);
  CHECK(as_text(pair.server->take_plaintext()) == "last");
  pair.server->handle_bytes(as_bytes("more"));
  CHECK(pair.server->take_plaintext().empty());
}

TEST_CASE("tls: a flipped bit anywhere in a record ends the stream", "[natt][tls]") {
  TestPki site;
  for (std::size_t bit = 0; bit < 30 * 8; ++bit) {
    CAPTURE(bit);
    Pair pair = good_pair(site);
    pair.run();
    pair.client->write(as_bytes("12345678"));
    ByteBuffer record = pair.client->take_ciphertext();
    REQUIRE(record.size() == 30);
    record[bit / 8] = static_cast<std::uint8_t>(record[bit / 8] ^ (1u << (bit % 8)));

    pair.server->handle_bytes(record);

    CHECK(pair.server->take_plaintext().empty());
    // A longer length waits for more; everything else is an error.
    CHECK((pair.server->state() == State::kFailed || load_be<std::uint16_t>(&record[3]) > 25));
  }
}

TEST_CASE("tls: garbage instead of a hello fails without an answer that says who we are", "[natt][tls]") {
  TestPki site;
  const auto server = context(site.credentials(Role::kGateway, "gw1"), TlsDirection::kServer);
  auto stream = TlsStream::accept(*server, expect("hq", Role::kClient), kTestNow);

  (*stream)->handle_bytes(as_bytes("GET / HTTP/1.1\r\n\r\n"));

  CHECK((*stream)->state() == State::kFailed);
  CHECK((*stream)->take_ciphertext().size() <= 7);
}

TEST_CASE("tls: ALPN has to match", "[natt][tls]") {
  TestPki site;
  const Credentials& alice = site.credentials(Role::kClient, "alice");
  const Credentials& gateway = site.credentials(Role::kGateway, "gw1");
  const auto server_context = context(gateway, TlsDirection::kServer, "h3");
  struct Row {
    const char* alpn;
    bool connects;
  };
  for (const Row& row : {Row{"h3", true}, Row{"h2", false}}) {
    CAPTURE(row.alpn);
    const auto client_context = context(alice, TlsDirection::kClient, row.alpn);
    auto client = TlsStream::connect(*client_context, expect("hq", Role::kGateway), kTestNow);
    auto server = TlsStream::accept(*server_context, expect("hq", Role::kClient), kTestNow);
    for (int round = 0; round < 3; ++round) {
      Pair::carry(**client, **server, 100'000);
      Pair::carry(**server, **client, 100'000);
    }
    CHECK(((*server)->state() == State::kOpen) == row.connects);
    CHECK(((*client)->state() == State::kOpen) == row.connects);
  }
}

TEST_CASE("tls: bytes are read where they are and sent from where they are", "[natt][tls]") {
  TestPki site;
  Pair pair = good_pair(site);
  pair.run();
  const ByteBuffer sent(50'000, 0x5a);
  pair.client->write(sent);
  REQUIRE(pair.client->ciphertext().size() == pair.client->pending_ciphertext());
  CHECK(pair.client->pending_ciphertext() > sent.size());

  ByteBuffer received;
  ByteBuffer buffer(TlsStream::kMaxPlaintext);
  std::size_t piece = 1;
  while (pair.client->pending_ciphertext() > 0) {
    const ByteView pending = pair.client->ciphertext();
    ByteView rest = pending.first(std::min(piece++, pending.size()));
    const std::size_t taken = rest.size();
    for (ByteView plain = pair.server->read(rest, buffer); !plain.empty(); plain = pair.server->read(rest, buffer)) {
      received.insert(received.end(), plain.begin(), plain.end());
    }
    CHECK(rest.empty());
    pair.client->consume_ciphertext(taken);
    if (piece % 100 == 0) pair.client->write(as_bytes("z"));  // written while some of it waits
  }
  pair.client->release_memory();
  CHECK(pair.client->ciphertext().empty());
  CHECK(std::equal(sent.begin(), sent.end(), received.begin()));
  CHECK(as_text(received).substr(sent.size()).find_first_not_of('z') == std::string_view::npos);

  pair.client->close();
  ByteView farewell = pair.client->ciphertext();
  CHECK(pair.server->read(farewell, buffer).empty());
  CHECK(pair.server->state() == State::kClosed);
}

TEST_CASE("tls: both ends know the protocol they agreed on", "[natt][tls]") {
  TestPki site;
  const auto offer = context(site.credentials(Role::kClient, "alice"), TlsDirection::kClient, "h2");
  const auto answer = context(site.credentials(Role::kGateway, "gw1"), TlsDirection::kServer, "h2");
  const auto client = std::move(TlsStream::connect(*offer, expect("hq", Role::kGateway), kTestNow).value());
  const auto server = std::move(TlsStream::accept(*answer, expect("hq", Role::kClient), kTestNow).value());
  while (Pair::carry(*client, *server, 1000) || Pair::carry(*server, *client, 1000)) {
  }
  CHECK(client->protocol() == "h2");
  CHECK(server->protocol() == "h2");
  Pair without = good_pair(site);
  without.run();
  CHECK(without.client->protocol().empty());
}

TEST_CASE("tls: a peer that changes its keys again and again and says nothing is cut off", "[natt][tls]") {
  TestPki site;
  const auto server_context = context(site.credentials(Role::kGateway, "gw1"), TlsDirection::kServer);
  const auto client_context = context(site.credentials(Role::kClient, "alice"), TlsDirection::kClient);
  auto server = std::move(TlsStream::accept(*server_context, expect("hq", Role::kClient), kTestNow).value());
  RawClient client(*client_context);
  client.run(*server);
  REQUIRE(server->state() == State::kOpen);

  // What it says between counts anew.
  for (int i = 0; i < 100; ++i) {
    client.update_key(*server);
    client.write(*server, "x");
  }
  CHECK(server->state() == State::kOpen);
  CHECK(server->take_plaintext().size() == 100);

  int updates = 0;
  while (updates < 1000 && server->state() == State::kOpen) {
    client.update_key(*server);
    ++updates;
  }
  CHECK(server->state() == State::kFailed);
  CHECK(updates == 33);  // docs/WIRE.md 7.6
}
