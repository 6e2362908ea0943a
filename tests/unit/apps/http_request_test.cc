// SPDX-License-Identifier: Apache-2.0
#include "apps/metrics/http_request.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace natt;
using metrics::HttpRequestReader;
using metrics::HttpStatus;

namespace {

std::optional<HttpStatus> give(HttpRequestReader& reader, std::string_view text) {
  return reader.handle_bytes({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::optional<HttpStatus> status_of(std::string_view text) {
  HttpRequestReader reader;
  return give(reader, text);
}

// What prometheus 2.42 sends.
const std::string kScrape =
    "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nUser-Agent: Prometheus/2.42.0\r\nAccept: "
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/"
    "plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n";

}  // namespace

TEST_CASE("http request: a scrape is understood whole and octet by octet", "[apps][metrics]") {
  HttpRequestReader whole;
  CHECK(give(whole, kScrape) == HttpStatus::kOk);
  CHECK(whole.method() == HttpRequestReader::Method::kGet);
  CHECK(whole.path() == "/metrics");

  HttpRequestReader slow;
  for (std::size_t i = 0; i + 1 < kScrape.size(); ++i) REQUIRE_FALSE(give(slow, kScrape.substr(i, 1)));
  CHECK(give(slow, kScrape.substr(kScrape.size() - 1)) == HttpStatus::kOk);
  CHECK(slow.path() == "/metrics");
}

TEST_CASE("http request: every truncation waits for more", "[apps][metrics]") {
  for (std::size_t size = 0; size < kScrape.size(); ++size) REQUIRE_FALSE(status_of(kScrape.substr(0, size)));
}

TEST_CASE("http request: what follows the head is no part of it", "[apps][metrics]") {
  HttpRequestReader reader;
  CHECK(give(reader, kScrape + "GET /secret HTTP/1.1\r\n\r\n") == HttpStatus::kOk);
  CHECK(reader.path() == "/metrics");
  // And nothing changes it any more.
  CHECK(give(reader, "\0\xff garbage\r\n\r\n") == HttpStatus::kOk);
  CHECK(reader.path() == "/metrics");
}

TEST_CASE("http request: methods and paths are told apart, the query is not looked at", "[apps][metrics]") {
  const auto of = [](const char* line) {
    HttpRequestReader reader;
    CHECK(give(reader, std::string(line) + "\r\nHost: a\r\n\r\n") == HttpStatus::kOk);
    return std::pair(reader.method(), reader.path());
  };
  using Method = HttpRequestReader::Method;
  CHECK(of("HEAD /metrics HTTP/1.1") == std::pair(Method::kHead, std::string("/metrics")));
  CHECK(of("GET /metrics?collect=a HTTP/1.0") == std::pair(Method::kGet, std::string("/metrics")));
  CHECK(of("POST /metrics HTTP/1.1") == std::pair(Method::kOther, std::string("/metrics")));
  CHECK(of("get /metrics HTTP/1.1") == std::pair(Method::kOther, std::string("/metrics")));
  CHECK(of("OPTIONS * HTTP/1.1") == std::pair(Method::kOther, std::string("*")));
  CHECK(of("GET / HTTP/1.1") == std::pair(Method::kGet, std::string("/")));
  CHECK(of("GET ? HTTP/1.1") == std::pair(Method::kGet, std::string()));
}

TEST_CASE("http request: a head that is not well formed is a bad request", "[apps][metrics]") {
  const std::string head = GENERATE(
      "\r\n\r\n", "GET\r\n\r\n", "GET /metrics\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", " /metrics HTTP/1.1\r\n\r\n",
      "GET /metrics HTTP/1.1 \r\n\r\n", "GET /met rics HTTP/1.1\r\n\r\n", "GET /metrics\tHTTP/1.1\r\n\r\n",
      "GET /metrics http/1.1\r\n\r\n", "GET /metrics HTTP/1\r\n\r\n", "GET /metrics HTTP/1.10\r\n\r\n",
      "GET /m\x7ftrics HTTP/1.1\r\n\r\n", "GET /m\xc3\xa9trics HTTP/1.1\r\n\r\n", "G\x01T /metrics HTTP/1.1\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost: a\r\nA: b\x01\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: a\r\nA: b\nB: c\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "\x16\x03\x01\x02 a b\r\n\r\n");
  CAPTURE(head);
  CHECK(status_of(head) == HttpStatus::kBadRequest);
}

TEST_CASE("http request: HTTP/1.1 names exactly one host, HTTP/1.0 may name one", "[apps][metrics]") {
  CHECK(status_of("GET /metrics HTTP/1.1\r\n\r\n") == HttpStatus::kBadRequest);
  CHECK(status_of("GET /metrics HTTP/1.1\r\nHosts: a\r\n\r\n") == HttpStatus::kBadRequest);
  CHECK(status_of("GET /metrics HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n") == HttpStatus::kBadRequest);
  CHECK(status_of("GET /metrics HTTP/1.0\r\nHost: a\r\nHOST: a\r\n\r\n") == HttpStatus::kBadRequest);
  const auto host_of = [](std::string_view text) {
    HttpRequestReader reader;
    CHECK(give(reader, text) == HttpStatus::kOk);
    return reader.host();
  };
  CHECK(host_of("GET /metrics HTTP/1.0\r\n\r\n") == std::nullopt);
  CHECK(host_of("GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n") == "a");
  CHECK(host_of("GET /metrics HTTP/1.1\r\nA: b\r\nhOsT:\t a:1 \r\n\r\n") == "a:1");
  CHECK(host_of("GET /metrics HTTP/1.1\r\nHost:\r\n\r\n") == "");
}

TEST_CASE("http request: only addresses and localhost name this host", "[apps][metrics]") {
  const std::string here = GENERATE("127.0.0.1", "127.0.0.1:9464", "10.1.2.3:1", "[::1]", "[::1]:9464", "localhost",
                                    "LocalHost:9464", "localhost:");
  CAPTURE(here);
  CHECK(metrics::is_local_host(here));
}

TEST_CASE("http request: no other name does, however like an address", "[apps][metrics]") {
  const std::string elsewhere =
      GENERATE("", ":9464", "evil.example", "evil.example:9464", "localhost.evil.example", "localhost.", "xlocalhost",
               "127.0.0.1.evil.example", "127.0.0.1.nip.io:9464", "127.1", "2130706433", "0x7f.0.0.1", "::1", "[::1",
               "[::1]x", "[::1]:x", "[127.0.0.1]", "[]", "[", "127.0.0.1:94640000", "127.0.0.1:9464:1", "127.0.0.1:-1",
               "user@127.0.0.1", "127.0.0.1, evil.example");
  CAPTURE(elsewhere);
  CHECK_FALSE(metrics::is_local_host(elsewhere));
}

TEST_CASE("http request: other versions of HTTP are named as such", "[apps][metrics]") {
  CHECK(status_of("GET /metrics HTTP/1.2\r\n\r\n") == HttpStatus::kVersionNotSupported);
  CHECK(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == HttpStatus::kVersionNotSupported);
  CHECK(status_of("GET /metrics HTTP/9.9\r\n\r\n") == HttpStatus::kVersionNotSupported);
}

TEST_CASE("http request: a head of 8192 octets is taken, one octet more is too large", "[apps][metrics]") {
  const std::string start = "GET /metrics HTTP/1.1\r\nHost: a\r\nA: ";
  const auto head_of = [&start](std::size_t size) {
    return start + std::string(size - start.size() - 4, 'a') + "\r\n\r\n";
  };
  CHECK(status_of(head_of(HttpRequestReader::kMaxHead)) == HttpStatus::kOk);
  CHECK(status_of(head_of(HttpRequestReader::kMaxHead + 1)) == HttpStatus::kHeadTooLarge);
  CHECK(status_of(std::string(HttpRequestReader::kMaxHead, 'a')) == HttpStatus::kHeadTooLarge);
  CHECK_FALSE(status_of(std::string(HttpRequestReader::kMaxHead - 1, 'a')));

  HttpRequestReader slow;
  for (std::size_t i = 0; i + 1 < HttpRequestReader::kMaxHead; ++i) REQUIRE_FALSE(give(slow, "\r"));
  CHECK(give(slow, "\n") == HttpStatus::kHeadTooLarge);
}

TEST_CASE("http request: the response says how long it is and that it is the last", "[apps][metrics]") {
  const std::string get = metrics::http_response(HttpStatus::kOk, "text/plain", "natt 1\n", true);
  CHECK(get.starts_with("HTTP/1.1 200 OK\r\n"));
  CHECK(get.find("\r\nContent-Type: text/plain\r\n") != std::string::npos);
  CHECK(get.find("\r\nContent-Length: 7\r\n") != std::string::npos);
  CHECK(get.find("\r\nConnection: close\r\n") != std::string::npos);
  CHECK(get.ends_with("\r\n\r\nnatt 1\n"));
  const std::string head = metrics::http_response(HttpStatus::kOk, "text/plain", "natt 1\n", false);
  CHECK(get == head + "natt 1\n");
  const std::string refusal = metrics::http_response(HttpStatus::kMethodNotAllowed, "text/plain", "", true);
  CHECK(refusal.find("\r\nAllow: GET, HEAD\r\n") != std::string::npos);
}
