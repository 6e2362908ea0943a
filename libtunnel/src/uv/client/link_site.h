// SPDX-License-Identifier: Apache-2.0
#pragma once

// What all links of a site share. Borrowed; outlives them.

#include <natt/tls_context.h>
#include <natt/tunnel/uv/packet_pump.h>
#include <natt/tunnel/uv/site_client.h>
#include <natt/uv/site_signaling.h>

#include "src/uv/client/client_streams.h"
#include "src/uv/client/tunnel_transport.h"

namespace natt::tunnel::uv {

struct LinkSite {
  uv_loop_s& loop;
  const SiteClientOptions& options;
  TlsContext& quic;       // ALPN "h3"
  const TlsContext* tls;  // ALPN "h2"; null in a QUIC site
  natt::uv::SiteSignaling& signaling;
  natt::uv::EndpointDriver& driver;
  PacketPump& pump;
  Random& random;
  SiteClient::Listener& listener;
  ClientStreams::Owner& streams;
  TunnelTransport::Owner& transports;

  [[nodiscard]] bool is_tls() const { return tls != nullptr; }
};

}  // namespace natt::tunnel::uv
