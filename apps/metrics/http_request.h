// SPDX-License-Identifier: Apache-2.0
#pragma once

// The head of one HTTP/1.x request (RFC 9112), as little of it as a metrics endpoint needs:
// method, path and host, everything else checked for its form and forgotten. Strict: lines end
// in CRLF, no folded lines, no body, one Host. Sans-I/O, value type.
//
//   const auto status = reader.handle_bytes(bytes);   // absent: more has to come
//   if (status == HttpStatus::kOk) reader.path() ...

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <natt/bytes.h>

namespace natt::metrics {

enum class HttpStatus : std::uint16_t {
  kOk = 200,
  kBadRequest = 400,
  kNotFound = 404,
  kMethodNotAllowed = 405,
  kMisdirected = 421,
  kHeadTooLarge = 431,
  kVersionNotSupported = 505,
};
[[nodiscard]] std::string_view reason_of(HttpStatus status);

class HttpRequestReader {
 public:
  // Request line, fields and the empty line; what Prometheus sends has 300 octets.
  static constexpr std::size_t kMaxHead = 8192;

  enum class Method : std::uint8_t { kGet, kHead, kOther };

  // Call it until it answers; what follows the head is ignored. kOk: the head is complete and good. Anything else: it
  // will not become so.
  [[nodiscard]] std::optional<HttpStatus> handle_bytes(ByteView bytes);

  // After kOk. The path ends where a query begins.
  [[nodiscard]] Method method() const { return method_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  // Of the Host field. Absent in HTTP/1.0 requests only.
  [[nodiscard]] const std::optional<std::string>& host() const { return host_; }

 private:
  [[nodiscard]] HttpStatus parse(std::string_view head);
  [[nodiscard]] HttpStatus parse_request_line(std::string_view line);
  [[nodiscard]] bool parse_field(std::string_view line);

  std::string head_;
  std::optional<HttpStatus> status_;
  Method method_ = Method::kOther;
  bool needs_host_ = false;
  std::string path_;
  std::optional<std::string> host_;
};

// Whether a Host field names this very host by an address or as `localhost`, with or without a port. Any other name is
// one that somebody's DNS led here: a web page's, say, that has the browser read what is on loopback (DNS rebinding).
[[nodiscard]] bool is_local_host(std::string_view host);

// What answers it: status line, fields and `body`, which a HEAD request does not get. The connection ends after it.
[[nodiscard]] std::string http_response(HttpStatus status, std::string_view content_type, std::string_view body,
                                        bool with_body);

}  // namespace natt::metrics
