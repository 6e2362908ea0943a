// SPDX-License-Identifier: Apache-2.0
#include "src/signal/message_roles.h"

#include <array>
#include <cstdint>

namespace natt {
namespace {

constexpr std::uint8_t kB = 1;
constexpr std::uint8_t kG = 2;
constexpr std::uint8_t kC = 4;

struct Direction {
  std::uint8_t from;
  std::uint8_t to;
};

// In the order of the variant. Every channel has a broker at one end.
constexpr std::array<Direction, std::variant_size_v<SignalMessage>> kDirections = {{
    {kC | kG, kB},                 // hello
    {kB, kC | kG},                 // welcome
    {kG, kB},                      // gateway-registration
    {kB, kC},                      // gateway-directory
    {kC, kB},                      // offer
    {kB, kG},                      // forwarded-offer
    {kG | kB, kB | kC},            // answer
    {kB, kC},                      // offer-rejection
    {kB | kC | kG, kB | kC | kG},  // candidate-batch
    {kB, kC | kG},                 // punch-start
    {kB | kC | kG, kB | kC | kG},  // session-end
    {kC | kG, kB},                 // relay-request
    {kB, kC | kG},                 // relay-grant
    {kB, kC | kG},                 // relay-refusal
    {kC | kG, kB},                 // relay-renewal
    {kC | kG, kB},                 // stun-credentials-request
    {kB, kC | kG},                 // stun-credentials
    {kB, kC | kG},                 // roster-chunk
    {kC | kG, kB},                 // roster-ack
    {kB | kC | kG, kB | kC | kG},  // key-renewal
    {kB, kC | kG},                 // drain-notice
    {kC | kG, kB},                 // ping
    {kB, kC | kG},                 // pong
    {kC, kB},                      // session-report
    {kB, kG},                      // peer-absent
}};

constexpr std::uint8_t bit_of(Role role) {
  switch (role) {
    case Role::kBroker: return kB;
    case Role::kGateway: return kG;
    case Role::kClient: return kC;
  }
  return 0;
}

}  // namespace

bool may_send(Role sender, Role receiver, const SignalMessage& message) {
  if ((sender == Role::kBroker) == (receiver == Role::kBroker)) return false;
  const Direction direction = kDirections[message.index()];
  return (direction.from & bit_of(sender)) != 0 && (direction.to & bit_of(receiver)) != 0;
}

}  // namespace natt
