// SPDX-License-Identifier: Apache-2.0
#pragma once

// The programs and maps of one gate in the kernel, as libbpf loaded them. They live as long
// as this object, and as long as a socket has one of the programs. Resource class.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <natt/error.h>
#include <natt/spa/kernel_gate.h>

#include "gate/bpf/gate_abi.h"

struct bpf_object;

namespace natt::spa::gate {

// The compiled programs (an ELF file for the bpf machine), built in.
[[nodiscard]] std::span<const std::uint8_t> program_file();

class GateObject {
 public:
  struct Sizes {
    std::size_t places = 0;      // of the table of hints
    std::size_t remembered = 0;  // of each of the LRU maps: frames, connections and sources of the last seconds
    std::size_t awaited = 0;     // STUN transactions
  };
  // Programs for these kinds of sockets. With a former object its maps live on in this one, apart from the table of
  // hints and the settings. kUnavailable with the reason.
  [[nodiscard]] static Result<std::unique_ptr<GateObject>> load(std::span<const GateSocket> kinds, const Sizes& sizes,
                                                                const GateObject* former);
  ~GateObject();
  GateObject(const GateObject&) = delete;
  GateObject& operator=(const GateObject&) = delete;

  // -1 when it was not asked for.
  [[nodiscard]] int program(GateSocket kind) const { return programs_[static_cast<std::size_t>(kind)]; }
  [[nodiscard]] int hints() const { return hints_; }
  [[nodiscard]] int filter() const { return filter_; }

  void set_config(const gate_config& config);
  void set_mask(std::uint32_t index, const gate_sip_key& key);
  void set_stun_key(std::uint32_t index, const gate_sip_key& key);
  void set_connection_id_key(std::uint32_t index, const gate_sip_key& key);
  void set_suffix(std::uint32_t index, const gate_suffix& suffix);
  void set_source(const gate_address& ip, const gate_source& source);
  void remove_source(const gate_address& ip);
  void set_awaited(const gate_transaction& transaction, std::uint64_t expires_ns);
  void set_answerer(const gate_endpoint& answerer, std::uint64_t expires_ns);
  // Over all processors.
  [[nodiscard]] std::array<std::uint64_t, GATE_VERDICTS> verdicts() const;

 private:
  explicit GateObject(bpf_object* object) : object_(object) {}
  // libbpf's own sentence is not for us: 0, or a negative errno.
  [[nodiscard]] int prepare(std::span<const GateSocket> kinds, const Sizes& sizes, const GateObject* former);
  [[nodiscard]] Result<void> find_descriptors();
  [[nodiscard]] int map(const char* name) const;

  bpf_object* object_;
  std::array<int, kGateSocketCount> programs_{};
  int hints_ = -1;
  int filter_ = -1;
  int config_ = -1;
  int masks_ = -1;
  int stun_keys_ = -1;
  int connection_id_keys_ = -1;
  int suffixes_ = -1;
  int sources_ = -1;
  int awaited_ = -1;
  int answerers_ = -1;
  int verdicts_ = -1;
};

}  // namespace natt::spa::gate
