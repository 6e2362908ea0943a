// SPDX-License-Identifier: Apache-2.0
#include "src/http/error_codes.h"

#include <nghttp2/nghttp2.h>

#include <natt/tunnel/streams.h>

namespace natt::tunnel {

std::uint32_t to_http2_code(std::uint64_t code) {
  switch (code) {
    case kHttpNoError: return NGHTTP2_NO_ERROR;
    case kHttpProtocolError:
    case kHttpMessageError: return NGHTTP2_PROTOCOL_ERROR;  // RFC 9113 section 8.1.1: what malformed messages get
    case kHttpExcessiveLoad: return NGHTTP2_ENHANCE_YOUR_CALM;
    case kHttpRequestRejected: return NGHTTP2_REFUSED_STREAM;
    case kRequestCancelled: return NGHTTP2_CANCEL;
    case kConnectError: return NGHTTP2_CONNECT_ERROR;
    default: return NGHTTP2_INTERNAL_ERROR;
  }
}

std::uint64_t from_http2_code(std::uint32_t code) {
  switch (code) {
    case NGHTTP2_NO_ERROR: return kHttpNoError;
    case NGHTTP2_PROTOCOL_ERROR: return kHttpProtocolError;
    case NGHTTP2_ENHANCE_YOUR_CALM: return kHttpExcessiveLoad;
    case NGHTTP2_REFUSED_STREAM: return kHttpRequestRejected;
    case NGHTTP2_CANCEL: return kRequestCancelled;
    case NGHTTP2_CONNECT_ERROR: return kConnectError;
    default: return kHttpInternalError;
  }
}

}  // namespace natt::tunnel
