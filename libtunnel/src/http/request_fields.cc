// SPDX-License-Identifier: Apache-2.0
#include "src/http/request_fields.h"

#include <utility>

#include "src/http/message_head.h"

namespace natt::tunnel {
void RequestFields::add(std::string_view name, std::string value) {
  const std::string& kept = values_.emplace_back(std::move(value));
  fields_.push_back({name, kept});
}

RequestFields RequestFields::connect(Protocol protocol, const Authority& target, std::string_view authority) {
  RequestFields fields;
  fields.add(":method", "CONNECT");
  if (protocol == Protocol::kTcp) {
    fields.add(":authority", target.to_string());
    return fields;
  }
  const bool udp = protocol == Protocol::kUdp;
  fields.add(":protocol", udp ? "connect-udp" : "connect-ip");
  fields.add(":scheme", "https");
  fields.add(":authority", std::string(authority));
  fields.add(":path", udp ? connect_udp_path(target) : std::string(kConnectIpPath));
  fields.add("capsule-protocol", "?1");
  return fields;
}

RequestFields RequestFields::success(Protocol protocol) {
  RequestFields fields;
  fields.add(":status", "200");
  if (protocol != Protocol::kTcp) fields.add("capsule-protocol", "?1");
  return fields;
}

RequestFields RequestFields::failure(int status, std::string_view reason) {
  RequestFields fields;
  fields.add(":status", std::to_string(status));
  fields.add("proxy-status", proxy_status(reason));
  return fields;
}

}  // namespace natt::tunnel
