// SPDX-License-Identifier: Apache-2.0
#pragma once

// One test vector as a line of `name=value` fields: inputs first, then everything that
// follows from them. Shared by the golden file's test and by the writer that feeds the
// Python codec.

#include <optional>
#include <string>

#include <natt/random.h>
#include <natt/spa/frame.h>

namespace natt::test {

struct SpaVector {
  Identity device;
  Identity verifier;
  std::array<std::uint8_t, 32> device_secret{};
  std::array<std::uint8_t, 32> verifier_secret{};
  std::array<std::uint8_t, 32> psk{};
  std::array<std::uint8_t, 16> mask{};
  spa::Transport transport = spa::Transport::kUdp;
  std::uint16_t port = 0;
  spa::ChannelBinding binding;
  spa::FrameBody body;
  spa::Nonce nonce{};

  [[nodiscard]] static SpaVector draw(Random& random);
  // The inputs of a line that line() wrote.
  [[nodiscard]] static std::optional<SpaVector> parse(const std::string& line);
  // Without a newline.
  [[nodiscard]] std::string line() const;
};

}  // namespace natt::test
