// SPDX-License-Identifier: Apache-2.0
#pragma once

// Value-or-error of all three libraries. Each library has its own `enum class
// Errc` with a std::error_category (spa/errc.h, natt/errc.h, tunnel/errc.h); an
// `Error` adds the one sentence an operator needs. Expected failures are values;
// nothing in these libraries throws.

#include <string>
#include <system_error>
#include <utility>

#include <tl/expected.hpp>

namespace natt {

struct Error {
  std::error_code code;
  // One sentence: what is wrong and, where it can be known, what to do.
  // Never holds key material.
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(std::error_code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace natt
