// SPDX-License-Identifier: Apache-2.0
#include <natt/punch_session.h>

#include "src/stun/random_text.h"

namespace natt {

// RFC 8445 section 5.3 asks for at least 24 bits of ufrag and 128 of password; 48 bits keep the ufrags of a
// gateway's thousands of sessions apart.
PunchCredential make_punch_credential(Random& random) {
  PunchCredential credential;
  credential.ufrag = random_text(random, 8);
  random.fill(credential.password.mutable_view());
  return credential;
}

}  // namespace natt
