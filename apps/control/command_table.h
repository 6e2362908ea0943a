// SPDX-License-Identifier: Apache-2.0
#pragma once

// The commands of one program's control socket, without I/O: one request line in,
// one response line out.
//
//   {"command":"config-get","arguments":{"key":"natt/stunKeepaliveInterval"}}
//   {"ok":true,"result":{...}}          {"ok":false,"error":"one sentence"}
//
// nattctl sends: status, health, sites, sessions, nat-sockets, config-get {key},
// config-set {key, value | null}. Resource type; outlives the ControlServer.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include <natt/error.h>

namespace natt::control {

inline constexpr std::size_t kMaxRequestBytes = 65536;

// Who may run a command: everyone who may open the socket, or only root and the
// program's own user (by SO_PEERCRED).
enum class Access : std::uint8_t { kRead, kWrite };
enum class Caller : std::uint8_t { kReader, kOwner };

class CommandTable {
 public:
  // `arguments` is always a JSON object. Runs on the loop's thread and must not block.
  using Handler = std::function<Result<nlohmann::json>(const nlohmann::json& arguments)>;

  CommandTable() = default;
  CommandTable(const CommandTable&) = delete;
  CommandTable& operator=(const CommandTable&) = delete;

  void add(std::string name, Access access, Handler handler);
  // `line` and the result are without the newline. Never fails: errors are responses.
  [[nodiscard]] std::string run(std::string_view line, Caller caller) const;

 private:
  struct Command {
    Access access;
    Handler handler;
  };
  std::map<std::string, Command, std::less<>> commands_;
};

}  // namespace natt::control
