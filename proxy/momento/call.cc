// See call.h.
#include "proxy/momento/call.h"

#include "proxy/momento/channel_pool.h"

namespace proxy::momento {

void Call::OnTimer() { pool->OnDeadline(this); }

}  // namespace proxy::momento
