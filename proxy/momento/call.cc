// See call.h.
#include "proxy/momento/call.h"

#include "proxy/momento/channel_pool.h"

namespace proxy::momento {

void Call::OnTimer() { pool->OnTimer(this); }

}  // namespace proxy::momento
