// See address_watch.h.
#include "proxy/momento/address_watch.h"

#include <algorithm>
#include <utility>

namespace proxy::momento {
namespace {

bool Holds(const Resolver::Addresses& addresses, const Address& one) {
  return std::find(addresses.begin(), addresses.end(), one) != addresses.end();
}

}  // namespace

void AddressWatch::Follow(const std::string& host, uint16_t port, int64_t interval_ms) {
  timer_.Cancel();
  lookup_.Cancel();
  latest_.clear();
  before_.clear();
  host_ = host;
  port_ = port;
  interval_ms_ = interval_ms;
  if (!NumericAddress(host, port).has_value()) loop_->Arm(&timer_, interval_ms_);
}

void AddressWatch::Ask() {
  metrics_->resolves.Add();
  lookup_ = resolver_->Resolve(host_, port_, loop_,
                               [this](absl::StatusOr<Resolver::Addresses> answer) {
                                 OnAnswer(std::move(answer));
                               });
}

void AddressWatch::OnAnswer(absl::StatusOr<Resolver::Addresses> answer) {
  loop_->Arm(&timer_, interval_ms_);
  if (!answer.ok()) return metrics_->resolve_failures.Add();
  before_ = std::exchange(latest_, *std::move(answer));
  answered_();
}

bool AddressWatch::HasLeft(const Address& address) const {
  return !latest_.empty() && !before_.empty() && !Holds(latest_, address) &&
         !Holds(before_, address);
}

}  // namespace proxy::momento
