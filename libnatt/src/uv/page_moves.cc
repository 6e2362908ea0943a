// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/page_moves.h>

#include <utility>

#include <natt/uv/background_task.h>

namespace natt::uv {

void run_page_moves(uv_loop_s* loop, std::vector<spa::PageMove> moves) {
  if (moves.empty()) return;
  const auto run = [moves = std::move(moves)] {
    for (const spa::PageMove& move : moves) move.run();
  };
  if (loop == nullptr) return run();
  run_in_background(*loop, run);
}

}  // namespace natt::uv
