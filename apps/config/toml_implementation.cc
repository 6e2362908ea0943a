// SPDX-License-Identifier: Apache-2.0
// toml++ compiled once, without exceptions (Debian's shared library throws).
#define TOML_IMPLEMENTATION
#include "apps/config/toml.h"
