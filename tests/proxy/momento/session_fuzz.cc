// libFuzzer: a client's HTTP/2 session that hears any bytes from its server. The first byte cuts
// the input in pieces; between them calls are made and cancelled. Every call must end at most once,
// end for good, and never after it was cancelled.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/base/check.h"
#include "proxy/momento/channel_pool.h"
#include "proxy/momento/h2_session.h"

namespace proxy::momento {
namespace {

struct FuzzCall final : Call {
  // Takes any message but those of one size, so that both answers are heard of.
  bool OnMessage(absl::string_view message) override { return message.size() != 7; }
  void OnDone(Error) override { CHECK(false); }  // The pool's; there is none.
  enum class Where { kIdle, kOnWire, kGone } where = Where::kIdle;
};

class Fuzzed final : private SessionEvents {
 public:
  void Hear(absl::string_view wire, size_t step) {
    StartCalls(2);
    for (size_t at = 0; at < wire.size(); at += step) {
      if (!session_.Receive(wire.substr(at, step))) break;
      if (!Write()) return;
      StartCalls(1);
      if (at % 5 == 0) CancelOne();
      if (at % 11 == 0) session_.Ping();
      if (session_.finished()) break;
    }
    (void)Write();  // What it still has to say, a GOAWAY perhaps.
  }

 private:
  void OnPeerSettings() override { CHECK(!std::exchange(settings_, true)); }
  void OnGoAway(uint32_t, absl::string_view) override { going_ = true; }
  void OnPong() override {}
  void OnStreamClosed() override {}
  void OnCallEnded(Call* call) override {
    FuzzCall* one = static_cast<FuzzCall*>(call);
    CHECK(one->where == FuzzCall::Where::kOnWire);
    one->where = FuzzCall::Where::kGone;
  }

  void StartCalls(int n) {
    for (FuzzCall& call : calls_) {
      if (n == 0 || going_ || session_.streams() >= session_.streams_max()) return;
      if (call.where != FuzzCall::Where::kIdle) continue;
      --n;
      call.path = "/cache_client.Scs/Get";
      call.time = &time_;
      call.frame.assign(40, 'f');
      call.reply.Reset();
      if (!session_.Submit(&call, true, 0)) return;
      call.where = FuzzCall::Where::kOnWire;
    }
  }
  void CancelOne() {
    for (FuzzCall& call : calls_) {
      if (call.where != FuzzCall::Where::kOnWire) continue;
      session_.Cancel(&call);
      call.where = FuzzCall::Where::kGone;
      return;
    }
  }
  bool Write() {
    std::string out;
    return session_.WriteTo(&out, 0, 1 << 20);
  }

  const RequestHeaders headers_{
      "http", "a", std::make_shared<const Credentials>(Credentials{.authorization = Secret("token")}),
      "c", ""};
  const CallTime time_{1000, "1000m"};
  std::array<FuzzCall, 16> calls_;
  bool settings_ = false;
  bool going_ = false;
  H2Session session_{&headers_, this};
};

// The server's empty SETTINGS, without which nghttp2 refuses all else.
constexpr absl::string_view kSettings("\0\0\0\4\0\0\0\0\0", 9);

void CheckSession(const uint8_t* data, size_t size) {
  std::string wire;
  if ((data[0] & 1) != 0) wire.append(kSettings.data(), kSettings.size());
  wire.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  Fuzzed().Hear(wire, data[0] / 2 + 1);
}

}  // namespace
}  // namespace proxy::momento

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) proxy::momento::CheckSession(data, size);
  return 0;
}
