// SPDX-License-Identifier: Apache-2.0
#include "src/client_event.h"

#include <utility>

namespace natt::tunnel {
namespace {

struct ClientEventMaker {
  ClientEvent operator()(Established&& event) const { return Connected{std::move(event.peer), event.serial}; }
  ClientEvent operator()(HandshakeConfirmed&&) const { return Confirmed{}; }
  ClientEvent operator()(PathSwitched&& event) const { return PathChanged{{}, event.path}; }
  ClientEvent operator()(PathRefused&& event) const { return PathFailed{event.path}; }
  ClientEvent operator()(Ended&& event) const { return ConnectionClosed{std::move(event.error)}; }
  ClientEvent operator()(ResponseArrived&& event) const {
    return Response{event.stream, event.status, std::move(event.reason)};
  }
  // Servers open no requests (RFC 9114 section 6.1, RFC 9113 section 8.4); the libraries see to it.
  ClientEvent operator()(RequestArrived&& event) const { return StreamClosed{event.stream}; }
  template <typename Same>
  ClientEvent operator()(Same&& event) const {
    return std::forward<Same>(event);
  }
};

}  // namespace

ClientEvent to_client_event(ConnectionEvent&& event) {
  return std::visit([](auto&& half) { return std::visit(ClientEventMaker{}, std::move(half)); }, std::move(event));
}

}  // namespace natt::tunnel
