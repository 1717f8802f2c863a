// libFuzzer: the body of a gRPC reply, from a server that may send anything. The first byte chooses
// what the call had asked. Cutting the body elsewhere must change neither the messages nor the end,
// and every decoder must live with any message.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/check.h"
#include "proxy/momento/grpc_reply.h"
#include "proxy/momento/messages.h"

namespace proxy::momento {
namespace {

bool Decode(uint8_t asked, absl::string_view message) {
  GetResult get;
  HashedGetResult hashed;
  StoreResult stored;
  FoundResult found;
  TtlResult ttl;
  switch (asked % 9) {
    case 0: return DecodeGet(message, &get);
    case 1: return DecodeGetWithHash(message, &hashed);
    case 2: return DecodeSet(message, &stored);
    case 3: return DecodeSetIf(message, &stored);
    case 4: return DecodeSetIfHash(message, &stored);
    case 5: return DecodeKeysExist(message, &found);
    case 6: return DecodeUpdateTtl(message, &found);
    case 7: return DecodeItemGetTtl(message, &ttl);
    default: return DecodeEmpty(message);
  }
}

struct Heard {
  std::vector<std::string> messages;
  Error end;
};

Heard Hear(uint8_t asked, absl::string_view body, size_t step) {
  Heard heard;
  GrpcReply reply;
  reply.Reset();
  reply.OnHeader(":status", "200");
  reply.OnHeader("content-type", "application/grpc");
  const auto sink = [&](absl::string_view message) {
    heard.messages.emplace_back(message);
    return Decode(asked, message);
  };
  bool sound = true;
  for (size_t at = 0; sound && at < body.size(); at += step) {
    sound = reply.OnData(body.substr(at, step), sink);
  }
  if (sound) reply.OnHeader("grpc-status", "0");
  heard.end = reply.Result();
  CHECK(sound || !heard.end.ok());
  return heard;
}

void CheckReply(const uint8_t* data, size_t size) {
  const absl::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Heard whole = Hear(data[0], body, size);
  for (const size_t step : {1, 3, 5}) {
    const Heard cut = Hear(data[0], body, step);
    CHECK(cut.messages == whole.messages);
    CHECK(cut.end.code == whole.end.code && cut.end.message == whole.end.message);
  }
  // The same bytes as a message, without a frame around it, and as the text of a header.
  (void)Decode(data[0], body);
  CHECK(PercentDecode(body).size() <= body.size());
}

}  // namespace
}  // namespace proxy::momento

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) proxy::momento::CheckReply(data, size);
  return 0;
}
