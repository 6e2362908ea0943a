// SPDX-License-Identifier: Apache-2.0
// toml++ compiled once, without exceptions (Debian's shared library throws).
//
// Its parser asserts, or with clang assumes, things that a file can make false ("[[[" is no
// key), in front of branches that report the very same as an error. Those branches are what
// a file from outside needs, so neither the assertions nor the assumptions are compiled in.
#define TOML_IMPLEMENTATION
#include <toml++/impl/preprocessor.h>
#undef TOML_ASSERT
#undef TOML_ASSERT_ASSUME
#undef TOML_ASSUME
#define TOML_ASSERT(expr) static_cast<void>(0)
#define TOML_ASSERT_ASSUME(expr) static_cast<void>(0)
#define TOML_ASSUME(expr) static_cast<void>(0)

#include <toml++/toml.h>
