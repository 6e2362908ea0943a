// SPDX-License-Identifier: Apache-2.0
#pragma once

// A device's signaling with all brokers of its site: one SignalLink per broker that the
// roster lists, the UDP knock that goes with each attempt, STUN credentials fetched and
// renewed for the endpoint, and rosters taken over as they are pushed.
//
// Resource type on the embedder's loop and its thread; everything borrowed outlives it.

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <natt/broker_clock.h>
#include <natt/credentials.h>
#include <natt/endpoint.h>
#include <natt/roster_on_disk.h>
#include <natt/roster_store.h>
#include <natt/spa/keys.h>
#include <natt/spa/knock_schedule.h>
#include <natt/spa/knocker.h>
#include <natt/tls_context.h>
#include <natt/uv/device_memory_file.h>
#include <natt/uv/endpoint_driver.h>
#include <natt/uv/relay_join.h>
#include <natt/uv/signal_link.h>

namespace natt::uv {

class UdpRejection;

// A device's own keys for SPA; the generation is that of the pair in the roster.
struct SpaOwnKey {
  std::uint16_t generation = 0;
  spa::KeyPair pair;
  [[nodiscard]] SpaOwnKey copy() const { return {generation, spa::KeyPair::from_secret(pair.secret())}; }
};

// One sentence when the certificate has expired or will within a month.
[[nodiscard]] std::optional<std::string> certificate_complaint(const Credentials& credentials, WallTime wall_now);

class SiteSignaling final : private SignalLink::Listener, private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // Everything but rosters and STUN credentials, which are dealt with here. May send().
    virtual void on_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) = 0;
    // A roster was accepted, from signaling or by update_roster(): end what it no longer allows.
    virtual void on_roster(Instant now, const RosterChange& change) = 0;
    // After it: write it to where the next start finds it. While that fails the roster is in force but acknowledged to
    // no broker, and this is called again every Options::persist_retry.
    [[nodiscard]] virtual bool persist_roster(const SignedRoster& documents) = 0;
  };

  struct Options {
    RosterView view = RosterView::kClient;
    std::uint64_t features = kFeatureRelayUdp | kFeatureRelayTcp;
    std::uint64_t boot_id = 0;
    std::string software;
    // What the device's file says of each broker's `[spa] mode`, for diagnosis only: everything that either mode needs
    // is sent anyway.
    SpaMode mode = SpaMode::kUdpTcp;
    std::map<std::string, SpaMode> modes;  // by broker name, where it differs
    // Of the knock over DNS; absent: the site's own.
    std::optional<spa::DnsSuffix> dns_suffix;
    // This device's key before the newest, for brokers that do not know the new one yet.
    std::optional<SpaOwnKey> older_key;
    // Where the device remembers its clock and keys (natt/device_memory.h); empty: nowhere.
    std::filesystem::path memory_file;
    Duration persist_retry = RosterOnDisk::kRetry;
    LogSink log;
  };

  struct BrokerState {
    Identity identity;
    SocketAddress address;
    bool connected = false;
    std::optional<Error> error;
    // Why it may be silent; absent while it answers.
    std::optional<SilenceDiagnosis> silence;
    std::optional<SocketAddress> mapped;
    std::optional<Error> stun_error;
  };

  // `roster` is the newest one at hand; it has to list the device and at least one broker.
  [[nodiscard]] static Result<std::unique_ptr<SiteSignaling>> make(uv_loop_s& loop, Options options,
                                                                   const Credentials& credentials,
                                                                   const SpaOwnKey& key, const spa::SitePsk& psk,
                                                                   const SignedRoster& roster, EndpointDriver& driver,
                                                                   Random& random, Listener& listener);
  ~SiteSignaling() override;
  SiteSignaling(const SiteSignaling&) = delete;
  SiteSignaling& operator=(const SiteSignaling&) = delete;

  void start(Instant now);
  // Leaves all brokers politely.
  void stop();
  // kClosed while there is no channel to that broker.
  Result<void> send(Instant now, BrokerIndex broker, const SignalMessage& message);
  // Brokers with an open channel, in roster order.
  [[nodiscard]] std::vector<BrokerIndex> connected() const;
  [[nodiscard]] bool is_connected(BrokerIndex broker) const;

  // Takes this device's leg of a relayed session over TCP: `grant` is of that broker, RelayTransport::kTcp. kUnavailable
  // when it is no grant for TCP, or not at an address of the broker. The listener outlives the result, which ends before
  // this object does.
  [[nodiscard]] Result<std::unique_ptr<RelayJoin>> join_relay(Instant now, BrokerIndex broker,
                                                              const RelayGrantMessage& grant,
                                                              RelayJoin::Listener& listener);

  // Whether a relay that the broker names is at one of its own addresses.
  [[nodiscard]] bool may_relay(BrokerIndex broker, const SocketAddress& relay) const;

  // The device's certificate or keys are other ones since its owner's last call into this object: Options::older_key,
  // what make() borrowed under the same addresses, and `tls`, made of the certificate for TlsDirection::kClient.
  // Channels that are open stay, the next attempts go with the new ones.
  void handle_new_material(std::optional<SpaOwnKey> older_key, std::unique_ptr<TlsContext> tls);

  // From a file. Errors leave everything as it was.
  [[nodiscard]] Result<RosterChange> update_roster(Instant now, const SignedRoster& documents);
  [[nodiscard]] const RosterStore& store() const { return store_; }
  [[nodiscard]] const Roster& roster() const { return *store_.roster(); }

  // The calendar, corrected by what this device learnt in its sessions: what brokers and gateways go by.
  [[nodiscard]] WallTime wall_now() const { return memory_.time(); }
  // What is added to the calendar for that.
  [[nodiscard]] std::chrono::milliseconds clock_offset() const { return memory_.clock_offset(); }
  // What is wrong with this device's own clock and keys: one sentence each, with what to do.
  [[nodiscard]] std::vector<std::string> own_complaints() const;

  // The endpoint's word on STUN, for states().
  void note_stun(const StunReport& report);
  [[nodiscard]] std::vector<BrokerState> states() const;

 private:
  class Join;
  // Knocks of relay joins that are still being repeated, per broker; a further one ends the oldest.
  static constexpr std::size_t kMaxJoinKnocks = 256;
  // A broker that does not answer a request for STUN credentials is asked again.
  static constexpr Duration kStunRetry = std::chrono::seconds(30);

  // Goes on when the connection is there: nothing on it says whether a knock has arrived.
  struct JoinKnock {
    std::unique_ptr<spa::KnockSchedule> knocks;
    SocketAddress to;
  };
  struct Broker {
    BrokerIndex index;
    Identity identity;
    RosterDevice listed;  // as its link was made from; another entry makes another link
    BrokerClock clock;
    std::unique_ptr<spa::Knocker> knocker;
    std::unique_ptr<spa::KnockSchedule> knocks;
    std::deque<JoinKnock> join_knocks;
    std::unique_ptr<SignalLink> link;
    // Which of its keys and ours the next attempt goes with (see use_keys): counts the attempts since it answered.
    std::size_t attempt = 0;
    std::uint16_t generation = 0;  // of our key in use
    std::optional<SilenceDiagnosis> silence;
    std::unique_ptr<UdpRejection> rejection;
    // This device as this broker saw it last; kept when the channel is lost, for the diagnosis.
    std::optional<IpAddress> tcp_source;
    std::optional<IpAddress> udp_source;
    std::optional<Instant> renew_stun_at;
    std::optional<SocketAddress> mapped;
    std::optional<Error> stun_error;
  };

  SiteSignaling(uv_loop_s& loop, Options options, const Credentials& credentials, const SpaOwnKey& key,
                const spa::SitePsk& psk, EndpointDriver& driver, Random& random, Listener& listener);
  [[nodiscard]] std::optional<spa::KnockId> on_attempt(Instant now, SignalLink& link) override;
  void on_silence(Instant now, SignalLink& link, SilenceEvidence::Tcp tcp) override;
  void on_signal(Instant now, SignalLink& link, const SignalEvent& event) override;
  [[nodiscard]] std::uint64_t roster_number() const override { return store_.number(); }
  [[nodiscard]] WallTime site_time() const override { return wall_now(); }
  void on_timer(Instant now) override;

  void sync_brokers(Instant now);
  void retire_missing_brokers(Instant now);
  void add_broker(Instant now, const RosterDevice& device);
  // Sets the pair of the next attempt (natt/key_choice.h).
  void use_keys(Broker& broker);
  [[nodiscard]] std::optional<spa::PairKey> derive_pair(const SpaOwnKey& own, const SpaPublicKey& theirs,
                                                        const Identity& broker) const;
  void note_own_listing();
  void on_connected(Instant now, Broker& broker, SignalLink& link, const SignalConnected& connected);
  void on_clock(Broker& broker, const ClockObserved& observed);
  [[nodiscard]] Broker* find(const SignalLink& link);
  [[nodiscard]] Broker* find(BrokerIndex index);
  [[nodiscard]] const Broker* find(BrokerIndex index) const;
  void on_stun_credentials(Instant now, Broker& broker, const StunCredentials& message);
  void on_roster_document(Instant now, Broker& broker, const RosterReceived& received);
  Result<RosterChange> accept_roster(Instant now, const SignedRoster& documents);
  void persist_roster(Instant now);
  void send_knocks(Instant now);
  void send_due_knocks(Instant now, const Broker& broker, spa::KnockSchedule& knocks, SocketAddress to);
  // Sends the knock that goes with a relay join.
  [[nodiscard]] spa::KnockId start_join_knock(Instant now, Broker& broker, const SocketAddress& to);
  // Empty when the broker has left the roster.
  [[nodiscard]] ByteBuffer make_join_flight(BrokerIndex index, spa::KnockId knock, const spa::PairingToken& token);
  void rearm();
  [[nodiscard]] SilenceEvidence evidence_for(const Broker& broker, SilenceEvidence::Tcp tcp) const;
  [[nodiscard]] bool is_address_of(const Identity& broker, const IpAddress& ip) const;

  uv_loop_s& loop_;
  Options options_;
  const Credentials& credentials_;
  const SpaOwnKey& key_;
  const spa::SitePsk& psk_;
  EndpointDriver& driver_;
  Random& random_;
  Listener& listener_;
  RosterStore store_;
  RosterOnDisk on_disk_;
  std::unique_ptr<TlsContext> tls_;
  std::vector<std::unique_ptr<TlsContext>> former_tls_;  // of channels that are open
  Timer timer_;
  std::vector<std::unique_ptr<Broker>> brokers_;
  std::vector<std::unique_ptr<Broker>> retired_;
  std::uint32_t next_index_ = 0;
  DeviceMemoryFile memory_;
  bool started_ = false;
};

}  // namespace natt::uv
