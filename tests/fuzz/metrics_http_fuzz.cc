// SPDX-License-Identifier: Apache-2.0
// One request whole and octet by octet: both have to end the same, and as early.
#include <cstdlib>

#include "apps/metrics/http_request.h"

using namespace natt;
using metrics::HttpRequestReader;
using metrics::HttpStatus;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 3 * HttpRequestReader::kMaxHead) return 0;
  const ByteView input(data, size);
  HttpRequestReader whole;
  HttpRequestReader slow;
  const auto expected = whole.handle_bytes(input);
  std::optional<HttpStatus> status;
  std::size_t read = 0;
  while (!status && read < size) status = slow.handle_bytes(input.subspan(read++, 1));
  if (status != expected || read > HttpRequestReader::kMaxHead) std::abort();
  if (size >= HttpRequestReader::kMaxHead && !status) std::abort();
  if (status != HttpStatus::kOk) return 0;
  if (slow.method() != whole.method() || slow.path() != whole.path()) std::abort();
  if (whole.path().find_first_of(" ?\r\n") != std::string::npos) std::abort();
  return 0;
}
