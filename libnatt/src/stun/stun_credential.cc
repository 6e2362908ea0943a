// SPDX-License-Identifier: Apache-2.0
#include <natt/stun_credential.h>

#include "src/stun/random_text.h"

namespace natt {

StunCredential make_stun_credential(const StunTransactionKey& broker_key, Random& random) {
  StunCredential credential;
  credential.username = random_text(random, kStunUsernameSize);
  random.fill(credential.password.mutable_view());
  credential.transaction_key = broker_key;
  return credential;
}

}  // namespace natt
