// SPDX-License-Identifier: Apache-2.0
#pragma once

// One request stream: its buffers, how far it has come, and what its application has not been
// told yet. Events are flags of the stream, not entries of a queue, so a peer cannot make them
// pile up. Resource type, owned by StreamTable; no I/O, no HTTP.
//
//   client:  kRequested --2xx--> kOpen      server:  kHead --request--> kRequested --accept--> kOpen
//            kRequested --else-> kRefused            kHead, kRequested --reject--> kRefused
//   kOver: reset by either side, from any of them.

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <natt/tunnel/streams.h>

#include "src/http/byte_queue.h"
#include "src/http/message_head.h"
#include "src/masque/capsule_reader.h"

namespace natt::tunnel {

// What the two ends make of these is in natt/tunnel/client.h and server.h.
struct RequestArrived {
  StreamId stream;
  Protocol protocol = Protocol::kTcp;
  Authority target;
};
struct ResponseArrived {
  StreamId stream;
  int status = 0;
  std::string reason;
};
using StreamEvent = std::variant<RequestArrived, ResponseArrived, Readable, Writable, Finished, StreamReset, StreamClosed,
                                 CapsuleReceived>;

class Stream {
 public:
  enum class State : std::uint8_t { kHead, kRequested, kOpen, kRefused, kOver };
  // Control capsules that wait for the application; a tunnel gets a handful in its life.
  static constexpr std::size_t kMaxCapsules = 16;

  Stream(StreamId id, Protocol protocol, State state, ChunkPool& pool);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] StreamId id() const { return id_; }
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] Protocol protocol() const { return protocol_; }
  [[nodiscard]] bool carries_datagrams() const { return protocol_ != Protocol::kTcp; }

  // Header section while it arrives; gone once it was judged.
  std::unique_ptr<MessageHead> head;
  ByteQueue in;
  ByteQueue out;
  CapsuleReader capsules;
  // The data reader had nothing to give: HTTP/3 has to be told when there is something.
  bool starved = false;
  // reserve() came up short.
  bool wants_room = false;
  // In StreamTable's list of streams with events.
  bool listed = false;

  // Transitions; the argument checks are the caller's.
  void arrive(const StreamTarget& target);            // kHead -> kRequested, to be told
  void open();                                        // kRequested -> kOpen
  void answer(int status, std::string reason);        // client: kRequested -> kOpen or kRefused, to be told
  void refuse();                                      // server: kHead or kRequested -> kRefused
  void finish_reading() { fin_received_ = true; }
  void finish_writing() { fin_wanted_ = true; }
  void reset_by_peer(std::uint64_t code);
  void reset_locally();
  void transport_closed() { closed_ = true; }
  void note_readable() { readable_ = true; }
  void note_room() { writable_ = true; }
  [[nodiscard]] bool queue_capsule(ControlCapsule capsule);

  [[nodiscard]] bool may_read() const { return state_ == State::kOpen; }
  // A client may write before the answer (RFC 9114 section 4.4 lets it).
  [[nodiscard]] bool may_write(bool client) const;
  [[nodiscard]] bool fin_wanted() const { return fin_wanted_; }
  // Nobody has been told that it exists, or everybody that it is gone.
  [[nodiscard]] bool is_dead() const { return closed_ && (!visible_ || told_closed_); }

  // The next thing to tell the application, in the order of streams.h.
  [[nodiscard]] std::optional<StreamEvent> next_event();

 private:
  [[nodiscard]] std::optional<StreamEvent> next_ending();

  StreamId id_;
  Protocol protocol_;
  State state_;
  Authority target_;
  std::string reason_;
  std::vector<CapsuleReceived> received_capsules_;
  std::optional<std::uint64_t> reset_code_;
  int status_ = 0;
  bool visible_;  // the application knows it, or is about to be told
  bool announced_ = false;
  bool readable_ = false;
  bool writable_ = false;
  bool fin_received_ = false;
  bool fin_wanted_ = false;
  bool closed_ = false;
  bool told_finished_ = false;
  bool told_closed_ = false;
};

}  // namespace natt::tunnel
