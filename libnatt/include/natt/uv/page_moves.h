// SPDX-License-Identifier: Apache-2.0
#pragma once

// Gives what Verifier::take_page_moves() returns to libuv's thread pool.

#include <vector>

#include <natt/spa/page_move.h>

struct uv_loop_s;

namespace natt::uv {

// Without a loop here and now.
void run_page_moves(uv_loop_s* loop, std::vector<spa::PageMove> moves);

}  // namespace natt::uv
