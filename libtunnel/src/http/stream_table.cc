// SPDX-License-Identifier: Apache-2.0
#include "src/http/stream_table.h"

namespace natt::tunnel {

Stream& StreamTable::add(std::int64_t number, Protocol protocol, Stream::State state) {
  auto stream = std::make_unique<Stream>(StreamId{connection_, number}, protocol, state, pool_);
  return *(streams_[number] = std::move(stream));
}

Stream* StreamTable::find(std::int64_t number) const {
  const auto found = streams_.find(number);
  return found == streams_.end() ? nullptr : found->second.get();
}

void StreamTable::list(Stream& stream) {
  if (stream.listed) return;
  stream.listed = true;
  listed_.push_back(stream.id().number);
}

Stream* StreamTable::first_listed() {
  while (!listed_.empty()) {
    if (Stream* const stream = find(listed_.front())) return stream;
    listed_.pop_front();
  }
  return nullptr;
}

void StreamTable::unlist_first() {
  if (Stream* const stream = find(listed_.front())) stream->listed = false;
  listed_.pop_front();
}

}  // namespace natt::tunnel
