// SPDX-License-Identifier: Apache-2.0
// The golden file: bytes on the wire do not change by accident.
#include <fstream>

#include <catch2/catch_test_macros.hpp>

#include "spa_vector.h"

TEST_CASE("spa vectors: every golden line is reproduced from its inputs", "[spa][vectors]") {
  std::ifstream file(NATT_VECTORS "/spa_golden.txt");
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    const auto vector = natt::test::SpaVector::parse(line);
    REQUIRE(vector);
    CHECK(vector->line() == line);
  }

  CHECK(lines == 16);
}
