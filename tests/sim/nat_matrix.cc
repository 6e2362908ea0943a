// SPDX-License-Identifier: Apache-2.0
#include "sim/nat_matrix.h"

namespace natt::test {

std::string nat_matrix_table() {
  std::string table = "| client \\ gateway |";
  std::string rule = "|---|";
  for (const NatKind& gateway : kNatKinds) {
    table += " " + std::string(gateway.name) + " |";
    rule += "---|";
  }
  table += "\n" + rule + "\n";
  for (const NatKind& client : kNatKinds) {
    table += "| **" + std::string(client.name) + "** |";
    for (const NatKind& gateway : kNatKinds) {
      const PunchOutlook outlook = punch_outlook(client.behavior, gateway.behavior);
      table += " " + std::string(outlook == PunchOutlook::kPossible ? "punch" : to_string(outlook)) + " |";
    }
    table += "\n";
  }
  return table;
}

}  // namespace natt::test
