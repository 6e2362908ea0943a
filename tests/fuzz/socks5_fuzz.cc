// SPDX-License-Identifier: Apache-2.0
// One conversation whole and octet by octet: both have to end the same, with bounded output.
#include <algorithm>
#include <cstdlib>

#include "apps/client/socks5.h"

namespace {

using namespace natt;
using client::Socks5;

struct Outcome {
  ByteBuffer output;
  std::string host;
  std::uint16_t port = 0;
  ByteBuffer early_data;
  bool failed = false;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

void drain(Socks5& socks, Outcome& outcome) {
  while (const auto event = socks.poll_event()) {
    if (outcome.failed) std::abort();
    if (const auto* request = std::get_if<Socks5::ConnectRequest>(&*event)) {
      outcome.host = request->host;
      outcome.port = request->port;
      if (request->host.empty() || request->port == 0) std::abort();
    } else if (const auto* established = std::get_if<Socks5::Established>(&*event)) {
      outcome.early_data = established->early_data;
    } else {
      outcome.failed = true;
    }
  }
}

Outcome converse(ByteView input, bool with_password, std::size_t step) {
  Socks5::Options options;
  if (with_password) {
    options.username = "a";
    options.password = config::SecretText(std::string("b"));
  }
  Socks5 socks(std::move(options), Instant{});
  Outcome outcome;
  while (!input.empty()) {
    const std::size_t count = std::min(step, input.size());
    socks.handle_bytes(input.first(count));
    input = input.subspan(count);
    drain(socks, outcome);
  }
  if (!outcome.host.empty()) socks.reply(client::SocksReply::kSucceeded);
  drain(socks, outcome);
  outcome.output = socks.poll_output();
  if (outcome.output.size() > 14) std::abort();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const ByteView input(data + 1, size - 1);
  const bool with_password = data[0] == 'p';
  if (converse(input, with_password, size) != converse(input, with_password, 1)) std::abort();
  return 0;
}
