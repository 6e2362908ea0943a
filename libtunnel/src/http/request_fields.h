// SPDX-License-Identifier: Apache-2.0
#pragma once

// Header fields that this library sends, in the form nghttp3 wants them. Holds the text that
// the fields point to; nghttp3 copies it when it is submitted. Movable, as a deque's
// elements stay where they are.

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <nghttp3/nghttp3.h>

#include <natt/tunnel/streams.h>

namespace natt::tunnel {

class RequestFields {
 public:
  RequestFields(RequestFields&&) = default;
  RequestFields& operator=(RequestFields&&) = delete;
  // CONNECT (RFC 9114 section 4.4), connect-udp (RFC 9298 section 3.4), connect-ip (RFC 9484 section 4.5).
  [[nodiscard]] static RequestFields connect(Protocol protocol, const Authority& target, std::string_view authority);
  // 200, with Capsule-Protocol where capsules follow (RFC 9297 section 3.4).
  [[nodiscard]] static RequestFields success(Protocol protocol);
  [[nodiscard]] static RequestFields failure(int status, std::string_view reason);

  [[nodiscard]] const nghttp3_nv* data() const { return fields_.data(); }
  [[nodiscard]] std::size_t size() const { return fields_.size(); }

 private:
  RequestFields() = default;
  void add(std::string_view name, std::string value);

  std::deque<std::string> values_;  // elements never move
  std::vector<nghttp3_nv> fields_;
};

}  // namespace natt::tunnel
