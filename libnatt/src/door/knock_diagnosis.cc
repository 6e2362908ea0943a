// SPDX-License-Identifier: Apache-2.0
#include <natt/knock_diagnosis.h>

#include <algorithm>

#include <fmt/format.h>

#include <natt/spa/verifier.h>

namespace natt {
namespace {

std::string name_of(const SilenceEvidence& evidence) {
  return fmt::format("broker {} at {}", evidence.broker.name, evidence.address.to_string());
}

std::string list_of(const std::vector<std::uint16_t>& generations) {
  return fmt::format("{}", fmt::join(generations, ", "));
}

using MaybeDiagnosis = std::optional<SilenceDiagnosis>;

MaybeDiagnosis from_own_keys(const SilenceEvidence& evidence) {
  if (!evidence.listed_generations) return std::nullopt;
  const auto& listed = *evidence.listed_generations;
  if (listed.empty()) {
    return {{SilenceCause::kNotInRoster,
             fmt::format("{} does not answer: this device is no longer in the roster of site {}; enroll it again",
                         name_of(evidence), evidence.broker.site)}};
  }
  if (!evidence.own_generation) return std::nullopt;
  if (std::find(listed.begin(), listed.end(), *evidence.own_generation) != listed.end()) return std::nullopt;
  return {
      {SilenceCause::kKeyGeneration,
       fmt::format("{} does not answer: this device knocks with SPA key generation {}, but the roster lists {}; copy "
                   "the file that nattctl renew wrote to this device",
                   name_of(evidence), *evidence.own_generation, list_of(listed))}};
}

MaybeDiagnosis from_own_use(const SilenceEvidence& evidence) {
  if (!evidence.own_generation || *evidence.own_generation >= evidence.newest_used) return std::nullopt;
  return {{SilenceCause::kKeyGeneration,
           fmt::format("{} does not answer: this device knocks with SPA key generation {}, which was retired when "
                       "generation {} was used; its file here is an older copy: copy the newest one here",
                       name_of(evidence), *evidence.own_generation, evidence.newest_used)}};
}

MaybeDiagnosis from_clock(const SilenceEvidence& evidence) {
  if (!evidence.clock_error || std::chrono::abs(*evidence.clock_error) <= spa::Verifier::kMaxSkew) return std::nullopt;
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::abs(*evidence.clock_error)).count();
  return {
      {SilenceCause::kClockSkew,
       fmt::format("{} does not answer: this device's clock is about {} s {}, and a knock may be off by {} s; set the "
                   "clock",
                   name_of(evidence), seconds, evidence.clock_error->count() > 0 ? "behind" : "ahead",
                   std::chrono::seconds(spa::Verifier::kMaxSkew).count())}};
}

MaybeDiagnosis from_certificate(const SilenceEvidence& evidence) {
  if (!evidence.past_certificate) return std::nullopt;
  return {{SilenceCause::kClockSkew,
           fmt::format("{} does not answer: by this device's clock its certificate ended {} days ago, and a broker "
                       "would say so; the clock is ahead: set it (and if it is right, run nattctl renew)",
                       name_of(evidence),
                       std::chrono::floor<std::chrono::days>(*evidence.past_certificate).count())}};
}

MaybeDiagnosis from_egress(const SilenceEvidence& evidence) {
  const bool apart = evidence.tcp_source && evidence.udp_source && *evidence.tcp_source != *evidence.udp_source;
  if (evidence.mode != SpaMode::kUdpTcp || !apart) return std::nullopt;
  return {
      {SilenceCause::kSplitEgress,
       fmt::format("{} does not answer: UDP leaves this network as {} and TCP as {}, and SPA mode udp-tcp wants one "
                   "address; set [spa] mode = \"tcp\" on that broker",
                   name_of(evidence), evidence.udp_source->to_string(), evidence.tcp_source->to_string())}};
}

MaybeDiagnosis from_network(const SilenceEvidence& evidence) {
  using Tcp = SilenceEvidence::Tcp;
  if (evidence.tcp == Tcp::kRefused) {
    return {{SilenceCause::kRefused,
             fmt::format("{} refuses TCP: nothing listens there; is the broker running, and is this its address?",
                         name_of(evidence))}};
  }
  if (evidence.tcp == Tcp::kUnreachable) {
    return {{SilenceCause::kUnreachable,
             fmt::format("{} cannot be reached: this network has no route to it; check the connection and the address",
                         name_of(evidence))}};
  }
  return std::nullopt;
}

constexpr std::string_view kOverride = "set [spa] mode = \"tcp\" on that broker";

// Only mode udp-tcp depends on UDP.
MaybeDiagnosis from_udp(const SilenceEvidence& evidence) {
  if (evidence.mode != SpaMode::kUdpTcp) return std::nullopt;
  if (evidence.udp_rejected) {
    return {{SilenceCause::kUdpBlocked,
             fmt::format("{} does not answer: a router on the way rejects UDP to it, and SPA mode udp-tcp wants a UDP "
                         "knock; let UDP/443 and UDP/53 through, or {}",
                         name_of(evidence), kOverride)}};
  }
  if (evidence.dns_answered) {
    return {{SilenceCause::kDnsIntercepted,
             fmt::format("{} does not answer: something in this network intercepts DNS (UDP/53 was answered in the "
                         "broker's place) and UDP/443 did not reach it either; let UDP/443 through, or {}",
                         name_of(evidence), kOverride)}};
  }
  return std::nullopt;
}

SilenceDiagnosis from_connected(const SilenceEvidence& evidence) {
  if (evidence.mode == SpaMode::kTcp) {
    return {SilenceCause::kUnknownDevice,
            fmt::format("{} takes TCP connections but does not answer: it does not know this knock; was this device "
                        "renewed or revoked (and its file here is an older copy), is its clock right, does the broker "
                        "have the newest roster?",
                        name_of(evidence))};
  }
  return {
      SilenceCause::kUdpNotCounted,
      fmt::format("{} takes TCP connections but does not answer: SPA mode udp-tcp wants a UDP knock from the address "
                  "that TCP comes from, so UDP/443 and UDP/53 do not reach it, or UDP and TCP leave this network "
                  "with different addresses; let UDP through, or {}",
                  name_of(evidence), kOverride)};
}

SilenceDiagnosis from_nothing(const SilenceEvidence& evidence) {
  if (evidence.mode == SpaMode::kTcp) {
    return {
        SilenceCause::kSilent,
        fmt::format("{} does not answer: it is down, TCP/{} does not pass, or it does not know this device's knock; "
                    "check the broker, the way to it, this device's clock, and that its file is not an older copy",
                    name_of(evidence), evidence.address.port)};
  }
  return {SilenceCause::kSilent,
          fmt::format("{} does not answer, neither to UDP nor to TCP: it is down, a firewall stops UDP/443, UDP/53 or "
                      "TCP/{}, or UDP and TCP leave this network with different addresses; check the way to it, or {}; "
                      "or it does not know this device's knock: is its clock right, is its file an older copy?",
                      name_of(evidence), evidence.address.port, kOverride)};
}

SilenceDiagnosis from_closed(const SilenceEvidence& evidence) {
  return {SilenceCause::kClosed,
          fmt::format("{} closes TCP connections without a word: brokers do not do that, so a proxy or firewall stands "
                      "in between; let TCP/{} through unchanged",
                      name_of(evidence), evidence.address.port)};
}

}  // namespace

std::string_view to_string(SilenceCause cause) {
  switch (cause) {
    case SilenceCause::kRefused: return "refused";
    case SilenceCause::kUnreachable: return "unreachable";
    case SilenceCause::kClosed: return "closed";
    case SilenceCause::kKeyGeneration: return "key-generation";
    case SilenceCause::kNotInRoster: return "not-in-roster";
    case SilenceCause::kClockSkew: return "clock-skew";
    case SilenceCause::kSplitEgress: return "split-egress";
    case SilenceCause::kDnsIntercepted: return "dns-intercepted";
    case SilenceCause::kUdpBlocked: return "udp-blocked";
    case SilenceCause::kUdpNotCounted: return "udp-not-counted";
    case SilenceCause::kUnknownDevice: return "unknown-device";
    case SilenceCause::kSilent: return "silent";
  }
  return "silent";
}

SilenceDiagnosis diagnose_silence(const SilenceEvidence& evidence) {
  for (const auto& rule :
       {from_network, from_own_keys, from_own_use, from_clock, from_certificate, from_egress, from_udp}) {
    if (auto diagnosis = rule(evidence)) return std::move(*diagnosis);
  }
  switch (evidence.tcp) {
    case SilenceEvidence::Tcp::kConnected: return from_connected(evidence);
    case SilenceEvidence::Tcp::kClosed: return from_closed(evidence);
    case SilenceEvidence::Tcp::kNoAnswer:
    case SilenceEvidence::Tcp::kRefused:
    case SilenceEvidence::Tcp::kUnreachable: break;
  }
  return from_nothing(evidence);
}

}  // namespace natt
