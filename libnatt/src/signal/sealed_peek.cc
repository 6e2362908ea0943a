// SPDX-License-Identifier: Apache-2.0
#include "src/signal/sealed_peek.h"

#include "offer.pb.h"

namespace natt {

bool is_acceptance(ByteView sealed_answer) {
  wire::Sealed sealed;
  wire::AnswerBody body;
  return sealed.ParseFromArray(sealed_answer.data(), static_cast<int>(sealed_answer.size())) &&
         body.ParseFromString(sealed.body()) && body.refusal() == 0;
}

}  // namespace natt
