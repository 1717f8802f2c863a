// Asks again and again where a name leads, so that connections can follow it.
//
// A name server may answer with some of a name's addresses, other ones each time: an address counts
// as left when two answers in a row are without it. What cannot be answered changes nothing.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/any_invocable.h"
#include "core/net/event_loop.h"
#include "proxy/momento/address.h"
#include "proxy/momento/member_timer.h"
#include "proxy/momento/metrics.h"
#include "proxy/momento/resolver.h"

namespace proxy::momento {

class AddressWatch {
 public:
  // All pointers outlive it. `answered` is called after every answer, on the loop's thread. One
  // thread: the loop's.
  AddressWatch(core::EventLoop* loop, Resolver* resolver, Metrics* metrics,
               absl::AnyInvocable<void()> answered)
      : loop_(loop), resolver_(resolver), metrics_(metrics), answered_(std::move(answered)) {}

  // Follows this name from now on, and no other. A host that is an address itself is not asked for.
  void Follow(const std::string& host, uint16_t port, int64_t interval_ms);
  // Whether the name leads there no longer.
  bool HasLeft(const Address& address) const;

 private:
  void Ask();
  void OnAnswer(absl::StatusOr<Resolver::Addresses> answer);

  core::EventLoop* const loop_;
  Resolver* const resolver_;
  Metrics* const metrics_;
  absl::AnyInvocable<void()> answered_;
  std::string host_;
  uint16_t port_ = 0;
  int64_t interval_ms_ = 0;
  Resolver::Addresses latest_, before_;
  Lookup lookup_;
  MemberTimer<AddressWatch, &AddressWatch::Ask> timer_{this};
};

}  // namespace proxy::momento
