// What is asked for in a [[cache]] and [server], no wider than the service allows it.
#pragma once

#include <vector>

#include "config/momento.h"
#include "config/products.h"
#include "config/server.h"
#include "core/log/log.h"
#include "proxy/momento/backend.h"

namespace proxy {

// One [[cache]] and the limits of [server] for it.
struct Allowed {
  config::Cache cache;
  config::ProxyServer limits;
};

// One for every [[cache]] of `config`, in their order. `checked`: what the service said, of some or
// none of them; their index is into config.caches. A line in the log for each of those, and a
// warning for each wish that was cut. Main thread.
std::vector<Allowed> AllowedOf(const config::MomentoProxy& config,
                               const std::vector<momento::CheckedCache>& checked, core::Log* log);

}  // namespace proxy
