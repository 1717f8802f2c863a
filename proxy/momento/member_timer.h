// A timer that calls one method of its owner.
#pragma once

#include "core/net/timer.h"

namespace proxy::momento {

template <class Owner, void (Owner::*kFire)()>
class MemberTimer final : public core::Timer {
 public:
  explicit MemberTimer(Owner* owner) : owner_(owner) {}
  void OnTimer() override { (owner_->*kFire)(); }

 private:
  Owner* owner_;
};

}  // namespace proxy::momento
