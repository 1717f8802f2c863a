// The reply half of gRPC over HTTP/2: headers, length-prefixed messages and trailers become
// messages and one Error. Pure: sees no socket and no HTTP/2 library.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "proxy/momento/client.h"

namespace proxy::momento {

// What Momento's JavaScript and Rust SDKs accept, in bytes; its items end at 5 MB.
inline constexpr size_t kMessageBytesMax = 10'486'000;
// All messages of one reply together: a GetBatch of large items may not take all memory.
inline constexpr size_t kReplyBytesMax = 64 * 1024 * 1024;

class GrpcReply {
 public:
  // Forgets everything; keeps small buffers.
  void Reset();

  // One field of the response headers or of the trailers.
  void OnHeader(absl::string_view name, absl::string_view value);
  // Hands every complete message of `bytes` and what came before to `sink`, as a view that lives
  // for the call. Returns false when the reply is broken, or when the sink says so by returning
  // false; Result() then has the error and no more data may be given.
  [[nodiscard]] bool OnData(absl::string_view bytes,
                            absl::FunctionRef<bool(absl::string_view)> sink);

  // How the call ended, once the peer has ended the stream.
  Error Result() const;

 private:
  bool Broken(Code code, absl::string_view message);

  int http_status_ = 0;
  int grpc_status_ = -1;  // -1: not seen; -2: not a status.
  bool grpc_content_ = false;
  std::string message_;
  std::string detail_;
  std::string partial_;    // The beginning of a message whose end has not come.
  size_t total_bytes_ = 0;
  Error broken_;
};

// The Error of a stream that was reset with HTTP/2 error `h2_error`. Without a status from the
// service most resets say no more than "try elsewhere": kUnavailable.
Error ErrorOfReset(uint32_t h2_error);

// grpc-message is percent-encoded UTF-8; bad escapes stay as they are.
std::string PercentDecode(absl::string_view text);

}  // namespace proxy::momento
