// The service fits the runtime's seam, with the memcache text codec in front, and stays light.
#include <gtest/gtest.h>

#include "core/net/service.h"
#include "proto/memcache/text_codec.h"
#include "proxy/service/service.h"
#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

static_assert(core::Service<ProxyService, proto::memcache::TextCodec>);

class Seam : public ServiceTest {};

TEST_F(Seam, OperationsAreReused) {
  for (int i = 0; i < 3; ++i) {
    Put("k", "v");
    EXPECT_EQ(Ask(GetOf({"k"})), "k=v/0");
    EXPECT_EQ(Ask(SetOf("k", "w", 3, 5)), "STORED");
    EXPECT_EQ(Ask(CountOf("k", 1)), "NON_NUMERIC");
    EXPECT_EQ(Ask(TouchOf("k", -1)), "TOUCHED");
    EXPECT_EQ(Ask(GetOf({"k", "k", "l"})), "END");
    EXPECT_EQ(Ask(CasOf("k", "x", 1)), "NOT_FOUND");
  }
}

TEST_F(Seam, AConnectionMayOutliveItsService) {
  ProxyService::Connection kept = service().Connect();
  expected_in_flight_ = 1;
  SendOn(kept, SetOf("k", "v"));
  connection_.reset();
  service_.reset();
}

}  // namespace
}  // namespace proxy
