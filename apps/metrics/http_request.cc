// SPDX-License-Identifier: Apache-2.0
#include "apps/metrics/http_request.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include <natt/address.h>

namespace natt::metrics {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";

// RFC 9110 section 5.6.2.
constexpr std::string_view kTokenMarks = "!#$%&'*+-.^_`|~";

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kTokenMarks.find(c) != std::string_view::npos;
  });
}

// RFC 9110 section 5.5: no control characters but HTAB.
bool is_field_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto octet = static_cast<unsigned char>(c);
    return (octet < 0x20 && octet != '\t') || octet == 0x7f;
  });
}

bool is_target(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Takes the next line off the front; `lines` ends in CRLF.
std::string_view take_line(std::string_view& lines) {
  const std::size_t end = lines.find(kLineEnd);
  const std::string_view line = lines.substr(0, end);
  lines.remove_prefix(end + kLineEnd.size());
  return line;
}

// RFC 3986 section 3.2.3: the digits may be missing.
bool is_port(std::string_view text) {
  return text.empty() || (text.size() <= 6 && text.front() == ':' && std::all_of(text.begin() + 1, text.end(), [](char c) {
                            return c >= '0' && c <= '9';
                          }));
}

}  // namespace

std::string_view reason_of(HttpStatus status) {
  switch (status) {
    case HttpStatus::kOk: return "OK";
    case HttpStatus::kBadRequest: return "Bad Request";
    case HttpStatus::kNotFound: return "Not Found";
    case HttpStatus::kMethodNotAllowed: return "Method Not Allowed";
    case HttpStatus::kMisdirected: return "Misdirected Request";
    case HttpStatus::kHeadTooLarge: return "Request Header Fields Too Large";
    case HttpStatus::kVersionNotSupported: return "HTTP Version Not Supported";
  }
  return "Unknown";
}

std::optional<HttpStatus> HttpRequestReader::handle_bytes(ByteView bytes) {
  if (status_) return status_;
  // The end may lie across two pieces: look again at the last three octets.
  const std::size_t from = head_.size() < kHeadEnd.size() ? 0 : head_.size() - (kHeadEnd.size() - 1);
  const std::size_t room = kMaxHead - head_.size();
  const ByteView taken = bytes.first(std::min(bytes.size(), room));
  head_.append(reinterpret_cast<const char*>(taken.data()), taken.size());
  const std::size_t end = head_.find(kHeadEnd, from);
  if (end != std::string::npos) {
    status_ = parse(std::string_view(head_).substr(0, end + kLineEnd.size()));
  } else if (head_.size() == kMaxHead) {
    status_ = HttpStatus::kHeadTooLarge;
  }
  return status_;
}

HttpStatus HttpRequestReader::parse(std::string_view head) {
  if (const HttpStatus status = parse_request_line(take_line(head)); status != HttpStatus::kOk) return status;
  while (!head.empty()) {
    if (!parse_field(take_line(head))) return HttpStatus::kBadRequest;
  }
  // RFC 9112 section 3.2. HTTP/1.0 has none.
  return host_ || !needs_host_ ? HttpStatus::kOk : HttpStatus::kBadRequest;
}

// False: the field line is malformed, a second Host, or announces a body, for which there is no use here.
bool HttpRequestReader::parse_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!is_token(name) || !is_field_value(value)) return false;
  if (equals_ignoring_case(name, "host")) {
    if (host_) return false;
    host_ = value;
  }
  if (equals_ignoring_case(name, "transfer-encoding")) return false;
  return !equals_ignoring_case(name, "content-length") || value == "0";
}

HttpStatus HttpRequestReader::parse_request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t second = line.find(' ', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) return HttpStatus::kBadRequest;
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!is_token(method) || !is_target(target) || version.size() != 8 || !version.starts_with("HTTP/")) {
    return HttpStatus::kBadRequest;
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return HttpStatus::kVersionNotSupported;
  method_ = method == "GET" ? Method::kGet : method == "HEAD" ? Method::kHead : Method::kOther;
  needs_host_ = version == "HTTP/1.1";
  path_ = target.substr(0, target.find('?'));
  return HttpStatus::kOk;
}

bool is_local_host(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos || !is_port(host.substr(end + 1))) return false;
    const std::string_view literal = host.substr(1, end - 1);
    return literal.find(':') != std::string_view::npos && IpAddress::parse(literal).has_value();
  }
  const std::size_t colon = std::min(host.find(':'), host.size());
  if (!is_port(host.substr(colon))) return false;
  const std::string_view name = host.substr(0, colon);
  return equals_ignoring_case(name, "localhost") || IpAddress::parse(name).has_value();
}

std::string http_response(HttpStatus status, std::string_view content_type, std::string_view body, bool with_body) {
  std::string head = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n",
      static_cast<int>(status), reason_of(status), content_type, body.size());
  if (status == HttpStatus::kMethodNotAllowed) head += "Allow: GET, HEAD\r\n";
  head += kLineEnd;
  if (with_body) head += body;
  return head;
}

}  // namespace natt::metrics
