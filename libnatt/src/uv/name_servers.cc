// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/name_servers.h>

#include <fstream>
#include <sstream>
#include <string>

namespace natt::uv {

std::vector<IpAddress> name_servers() {
  std::vector<IpAddress> servers;
  std::ifstream file("/etc/resolv.conf");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string keyword, address;
    words >> keyword >> address;
    if (keyword != "nameserver") continue;
    // A zone ("%eth0") says how to reach a link-local server; routes do not matter for those.
    if (const auto ip = IpAddress::parse(address.substr(0, address.find('%')))) servers.push_back(*ip);
  }
  return servers;
}

}  // namespace natt::uv
