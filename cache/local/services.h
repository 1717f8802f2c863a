// The gRPC face of momento_local: three services that turn messages into calls on a Directory.
//
// Every call passes one gate: token, faults, then the cache named by the metadata `cache`. Nothing
// blocks a gRPC thread; a delayed call waits on an alarm. What is left out answers UNIMPLEMENTED:
// collections and signing keys.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cache/local/directory.h"
#include "cache/local/faults.h"
#include "cache/local/limits.h"
#include "cache/local/metrics.h"
#include "cache/local/quota.h"
#include "cache/local/tokens.h"

namespace grpc {
class Service;
}

namespace cache::local {

// What the services borrow; all of it outlives them.
struct ServicesContext {
  Directory* directory;
  Faults* faults;
  Metrics* metrics;
  Limits limits;
  Quota* quota;
  const Tokens* tokens;
  bool create_unknown = false;
  std::string unix_path;  // Of the listener; empty for TCP.
  int port = 0;           // Of the listener; written before the first call can arrive.
};

class Services {
 public:
  virtual ~Services() = default;
  // `context` outlives the services. They outlive the server they are registered with.
  static std::unique_ptr<Services> Create(const ServicesContext* context);

  virtual std::vector<grpc::Service*> all() = 0;
  // Ends the waiting of delayed calls, now and from now on: they answer UNAVAILABLE. For shutdown.
  virtual void StopDelays() = 0;
};

}  // namespace cache::local
