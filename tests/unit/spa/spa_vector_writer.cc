// SPDX-License-Identifier: Apache-2.0
// Writes random vectors for tests/vectors/spa_codec.py: COUNT SEED.
#include <cstdio>
#include <cstdlib>

#include <tests/support/seeded_random.h>

#include "spa_vector.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  natt::test::SeededRandom random(std::strtoull(argv[2], nullptr, 10));
  for (long i = std::atol(argv[1]); i > 0; --i) std::puts(natt::test::SpaVector::draw(random).line().c_str());
  return 0;
}
