// Which addresses may connect to a listener.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "config/cidr.h"

namespace core {

// Immutable; a list of none admits all.
class AllowList {
 public:
  // REQUIRES: each of `blocks` is one that config::ParseCidr takes.
  explicit AllowList(const std::vector<std::string>& blocks);
  bool empty() const { return blocks_.empty(); }
  // `peer` as config::Cidr has addresses.
  bool Admits(const std::array<uint8_t, 16>& peer) const;
  // The peer of the TCP socket `fd`; one that is gone already is not admitted. One system call, none
  // for an empty list.
  bool AdmitsPeerOf(int fd) const;

 private:
  std::vector<config::Cidr> blocks_;
};

}  // namespace core
