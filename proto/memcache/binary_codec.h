// memcached's binary protocol: packets of a header that tells every length, extras, key and value.
//
// Which lengths an opcode may have, which mistakes end the connection and what is said then was taken
// from the protocol's description and from probing memcached 1.6.18 (integration/binary_test.py).
//
//   header --+-- no packet of ours ---------------------------> hang up without a word
//            +-- lengths that cannot be -----------------------> error, hang up
//            +-- unknown opcode -------------------------------> error once its body is swallowed
//            +-- a value too long: swallow as it comes --------> `set`: request that removes the item;
//            |                                                   others: error
//            +-- else wait for all of it ----------------------> request (views into the input)
//
// Quiet requests are silent where they succeed, and gets where they find nothing; errors are said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/net/codec.h"
#include "core/net/out_buffer.h"
#include "proto/memcache/binary.h"
#include "proto/memcache/login.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"
#include "proto/memcache/text_codec.h"

namespace proto::memcache {

// One connection's reader; see core/net/codec.h for the contract. One thread.
class BinaryCodec {
 public:
  // Header, extras and key together may be this long: memcached reads this much at once, and hangs
  // up on more.
  static constexpr size_t kHeadBytesMax = 16 * 1024;

  // `login`, if given, outlives the codec: nothing but SASL and VERSION is taken until it is done.
  explicit BinaryCodec(Limits limits, Login* login = nullptr) : limits_(limits), login_(login) {}

  core::ParseResult Parse(absl::string_view in, Request* req);

  static void Compose(const ReplyContext& context, Response&& rsp, core::OutBuffer* out);

  bool AtRest() const { return swallow_bytes_ == 0; }

 private:
  core::ParseResult Await(size_t bytes);
  core::ParseResult ParsePacket(absl::string_view in, const binary::Header& h, Request* req);
  core::ParseResult Fill(absl::string_view in, const binary::Header& h, Request* req);
  core::ParseResult FillStore(absl::string_view in, const binary::Header& h, Request* req);
  core::ParseResult ParseSasl(absl::string_view in, const binary::Header& h, Request* req);
  core::ParseResult Refuse(const binary::Header& h, binary::Code code, size_t consumed, bool close,
                           Request* req);
  core::ParseResult Answer(const binary::Header& h, absl::string_view text, size_t consumed,
                           bool close, Request* req);
  core::ParseResult BeginSwallow(absl::string_view in, const binary::Header& h, binary::Code code,
                                 Request* req);
  core::ParseResult Swallow(absl::string_view in, size_t already, Request* req);
  void Reply(const binary::Header& h, binary::Code code, absl::string_view text, Request* req);

  Limits limits_;
  Login* login_;
  size_t need_ = 0;      // Bytes with which the packet can be looked at again.
  std::string reply_;    // What a rejection is a view of.

  // While the rest of a refused packet arrives.
  size_t swallow_bytes_ = 0;  // Still to come.
  binary::Header swallow_{};
  binary::Code swallow_code_ = binary::Code::kOk;
  std::string swallow_key_;  // Outlives the packet; the request's key is a view of it.
};

}  // namespace proto::memcache
