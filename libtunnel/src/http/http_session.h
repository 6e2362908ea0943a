// SPDX-License-Identifier: Apache-2.0
#pragma once

// The requests of one connection, their streams and capsules, as they are the same over
// HTTP/3 and HTTP/2: the verbs of streams.h, what arrives in each state of a stream, and how
// much a stream may buffer. What goes over the wire and when is the version's: Http3Session,
// Http2Session. Resource type.

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <natt/tunnel/streams.h>
#include <natt/tunnel/transport_options.h>

#include "src/http/request_fields.h"
#include "src/http/stream_table.h"
#include "src/masque/datagram_queue.h"
#include "src/side.h"

namespace natt::tunnel {

class HttpSession {
 public:
  // What the sessions of one endpoint share; outlives them.
  struct Shared {
    ChunkPool& chunks;
    DatagramQueue& received_datagrams;
  };
  struct Counters {
    std::uint64_t datagrams_dropped_in = 0;
  };

  virtual ~HttpSession() = default;
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  [[nodiscard]] std::optional<StreamEvent> poll_event();
  [[nodiscard]] bool has_events() const { return streams_.has_listed(); }

  // `authority` is the gateway's, for extended CONNECT.
  [[nodiscard]] virtual Result<StreamId> open(Protocol protocol, const Authority& target,
                                              std::string_view authority) = 0;
  void accept(std::int64_t stream);
  void reject(std::int64_t stream, int status, std::string_view reason);
  // Server: no more requests; the client is told (GOAWAY) at once, or as soon as there is somebody to tell.
  void drain();
  // The connection is over: nothing more is taken to be sent. What has come can still be read.
  void close() { closed_ = true; }

  [[nodiscard]] MutableBytes reserve(std::int64_t stream);
  void commit(std::int64_t stream, std::size_t size);
  void shutdown_write(std::int64_t stream);
  [[nodiscard]] ByteView peek(std::int64_t stream) const;
  void consume(std::int64_t stream, std::size_t size);
  void reset(std::int64_t stream, std::uint64_t code);
  [[nodiscard]] Result<void> send_capsule(std::int64_t stream, const ControlCapsule& capsule);
  // A datagram as a capsule on its stream; false when that has too much to send already.
  [[nodiscard]] bool send_datagram_capsule(std::int64_t stream, ByteView payload);
  // Whether datagrams may be sent for the stream at all.
  [[nodiscard]] bool takes_datagrams(std::int64_t stream) const;

  [[nodiscard]] std::size_t stream_count() const { return streams_.size(); }
  [[nodiscard]] const Counters& counters() const { return counters_; }

 protected:
  HttpSession(Side side, ConnectionId connection, Shared shared, const TransportOptions& options);

  // Of start(), once the peer can be told.
  [[nodiscard]] bool is_draining() const { return draining_; }

  // What the version does on its wire. None of them is called from within its library's callbacks, credit() and
  // submit_refusal() excepted.
  // GOAWAY; nothing before start().
  virtual void announce_drain() = 0;
  // Lets the peer send as much more, on the stream and on the connection.
  virtual void credit(std::int64_t stream, std::size_t count) = 0;
  virtual void credit_connection(std::size_t count) = 0;
  // There is something to send on the stream again, or its end.
  virtual void wake(Stream& stream) = 0;
  virtual bool submit_acceptance(std::int64_t stream, const RequestFields& fields) = 0;
  // The whole response; nothing more of the request is wanted.
  virtual bool submit_refusal(std::int64_t stream, const RequestFields& fields) = 0;
  // Client: the gateway has refused, so this end has nothing to send any more.
  virtual void finish_refused(std::int64_t stream) = 0;
  virtual void reset_on_wire(std::int64_t stream, std::uint64_t code) = 0;
  // What a stream may hold to be sent, beyond which reserve() comes up short.
  [[nodiscard]] virtual std::size_t send_limit() const = 0;
  // The stream's memory is free again.
  virtual void handle_removed(std::int64_t stream) = 0;

  // What arrives, from the library's callbacks.
  Stream& begin_head(std::int64_t stream);
  // False when the fields fill memory instead of saying something: the connection ends.
  [[nodiscard]] static bool add_field(MessageHead& head, std::string_view name, std::string_view value);
  void end_head(Stream& stream);
  void receive(Stream& stream, ByteView bytes);
  void finish_receiving(Stream& stream);
  void deliver_datagram(Stream& stream, ByteView payload);
  // The peer reset the stream, or the connection's end did. `stream` may be null. True when a client took a request
  // back before it was answered.
  bool reset_by_peer(Stream* stream, std::uint64_t code);
  void handle_transport_closed(Stream& stream);
  // Octets of `out` that are not needed any more.
  void release(Stream& stream, std::size_t count);
  // To be reset once the library has returned.
  void condemn(const Stream& stream, std::uint64_t code) { condemned_.emplace_back(stream.id().number, code); }
  void execute_condemned();
  void credit_discarded(Stream& stream);

  Side side_;
  Shared shared_;
  const TransportOptions& options_;
  StreamTable streams_;
  Counters counters_;

 private:
  void end_request(Stream& stream);
  void end_response(Stream& stream);
  void receive_capsules(Stream& stream, ByteView bytes);
  [[nodiscard]] bool submit_status(Stream& stream, int status, std::string_view reason);
  void abort(Stream& stream, std::uint64_t code);
  void append_out(Stream& stream, ByteView bytes);
  void remove_dead(Stream& stream);
  [[nodiscard]] bool has_room(const Stream& stream) const;

  std::vector<std::pair<std::int64_t, std::uint64_t>> condemned_;
  std::size_t buffered_out_ = 0;  // over all streams
  bool draining_ = false;
  bool closed_ = false;
};

}  // namespace natt::tunnel
