// Notes now and then, on a worker, whether its client can carry a call: what /readyz tells. One of
// a cache's also tidies the near cache, about once a second.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/net/event_loop.h"
#include "core/net/timer.h"
#include "proxy/momento/client.h"
#include "proxy/service/near_cache.h"

namespace proxy {

class BackendWatch final : public core::Timer {
 public:
  // All outlive it. `near`: null if there is none, or another worker's watch has it. On the loop's
  // thread, or while the loop does not run.
  BackendWatch(core::EventLoop* loop, momento::Client* client, std::atomic<bool>* ready,
               NearCache* near)
      : loop_(loop), client_(client), ready_(ready), near_(near) {
    OnTimer();
  }

 private:
  static constexpr int64_t kEveryMs = 200;
  static constexpr int kTurnsPerTick = 5;

  void OnTimer() override {
    // Relaxed: nothing is published with it.
    ready_->store(client_->ready_connections() > 0, std::memory_order_relaxed);
    if (near_ != nullptr && ++turns_ % kTurnsPerTick == 0) near_->Tick();
    loop_->Arm(this, kEveryMs);
  }

  core::EventLoop* const loop_;
  momento::Client* const client_;
  std::atomic<bool>* const ready_;
  NearCache* const near_;
  int turns_ = 0;
};

}  // namespace proxy
