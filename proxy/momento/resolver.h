// Looks names up away from the workers: getaddrinfo() blocks, so one thread of its own calls it
// and posts the answers to the loops that asked.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "core/base/mutex.h"
#include "core/net/event_loop.h"
#include "proxy/momento/address.h"

namespace proxy::momento {

// A question under way. Destroying it on its loop's thread takes the question back: its answer is
// never delivered and the loop is not touched again.
class Lookup {
 public:
  struct State;

  Lookup() = default;
  explicit Lookup(std::shared_ptr<State> state) : state_(std::move(state)) {}
  Lookup(Lookup&&) = default;
  Lookup& operator=(Lookup&& other) noexcept;
  ~Lookup() { Cancel(); }
  void Cancel();

 private:
  // Shared by the asker and the resolver's queue: either may be done with it first.
  std::shared_ptr<State> state_;
};

class Resolver {
 public:
  using Addresses = std::vector<Address>;
  using Done = absl::AnyInvocable<void(absl::StatusOr<Addresses>)>;
  // Questions that may wait: a reconnect storm of all connections of 128 workers fits.
  static constexpr size_t kWaitingMax = 4096;

  // Addresses of a name, or why there are none; may take its time.
  using LookUp = absl::StatusOr<Addresses> (*)(const std::string& host, uint16_t port);
  static absl::StatusOr<Addresses> LookUpInSystem(const std::string& host, uint16_t port);

  explicit Resolver(LookUp look_up = LookUpInSystem) : look_up_(look_up) {}
  // Waits for the lookup under way; the others are dropped.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Calls `done` on `loop`'s thread, in a coming turn, with at least one address or an error.
  // The thread starts with the first question. Any thread; `loop` outlives the Lookup.
  Lookup Resolve(std::string host, uint16_t port, core::EventLoop* loop, Done done);

 private:
  void Run();

  const LookUp look_up_;
  core::Mutex mu_;
  core::CondVar changed_;
  std::deque<std::shared_ptr<Lookup::State>> waiting_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;  // Set once, under mu_, when started_ turns true.
};

}  // namespace proxy::momento
