// SPDX-License-Identifier: Apache-2.0
#pragma once

// Header fields that this library sends, and their form for nghttp3 and nghttp2. Holds the
// text that the fields point to; the libraries copy it when it is submitted. Movable, as a
// deque's elements stay where they are.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <natt/tunnel/streams.h>

namespace natt::tunnel {

class RequestFields {
 public:
  RequestFields(RequestFields&&) = default;
  RequestFields& operator=(RequestFields&&) = delete;
  // CONNECT (RFC 9114 section 4.4, RFC 9113 section 8.5), connect-udp (RFC 9298 section 3.4),
  // connect-ip (RFC 9484 section 4.5).
  [[nodiscard]] static RequestFields connect(Protocol protocol, const Authority& target, std::string_view authority);
  // 200, with Capsule-Protocol where capsules follow (RFC 9297 section 3.4).
  [[nodiscard]] static RequestFields success(Protocol protocol);
  [[nodiscard]] static RequestFields failure(int status, std::string_view reason);

  // As nghttp3_nv or nghttp2_nv, which have the same members; points into this object. The libraries do not write
  // through these pointers: the structs are shared with what they return.
  template <typename Native>
  [[nodiscard]] std::vector<Native> to() const {
    std::vector<Native> fields;
    fields.reserve(fields_.size());
    for (const Field& field : fields_) {
      fields.push_back({octets(field.name), octets(field.value), field.name.size(), field.value.size(), 0});
    }
    return fields;
  }

 private:
  struct Field {
    std::string_view name;
    std::string_view value;
  };
  RequestFields() = default;
  void add(std::string_view name, std::string value);
  [[nodiscard]] static std::uint8_t* octets(std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  }

  std::deque<std::string> values_;  // elements never move
  std::vector<Field> fields_;
};

}  // namespace natt::tunnel
