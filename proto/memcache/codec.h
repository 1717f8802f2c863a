// The codec of memcache listeners: the first byte of a connection chooses its dialect, as in
// memcached. 0x80 begins a binary packet and no line of text; a connection keeps its dialect, but that
// lines may be classic commands and meta commands by turns. Where
// clients must say who they are, they do so in their dialect (login.h).
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/net/codec.h"
#include "core/net/out_buffer.h"
#include "core/auth/gate.h"
#include "proto/memcache/binary_codec.h"
#include "proto/memcache/login.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"
#include "proto/memcache/text_codec.h"
#include "proto/memcache/text_plain.h"

namespace proto::memcache {

// One connection's codec; see core/net/codec.h for the contract of the methods. One thread.
class Codec {
 public:
  using Request = memcache::Request;
  using ReplyContext = memcache::ReplyContext;
  using Response = memcache::Response;

  static constexpr absl::string_view kTooManyConnections = TextCodec::kTooManyConnections;

  // `gate`, if given, outlives the codec and its copies.
  explicit Codec(Limits limits, core::AuthGate* gate = nullptr)
      : text_(limits), limits_(limits), gate_(gate) {}
  // Of a connection that has not begun, which is all that is copied.
  Codec(const Codec& other) : Codec(other.limits_, other.gate_) {}
  Codec(Codec&&) = default;

  bool wants_peer() const { return gate_ != nullptr; }
  void SetPeer(std::string peer) { login_ = std::make_unique<Login>(gate_, std::move(peer)); }

  core::ParseResult Parse(absl::string_view in, Request* req) {
    if (stage_ == Stage::kText) [[likely]] return text_.Parse(in, req);
    return ParseOther(in, req);
  }

  static absl::string_view FirstKey(absl::string_view in) { return FirstPlainKey(in); }

  static ReplyContext ContextOf(const Request& req) {
    ReplyContext context = TextCodec::ContextOf(req);
    context.opcode = req.opcode;
    return context;
  }
  static Response Rejection(const Request& req) {
    return Response::Text(Status::kRaw, std::string(req.rejection));
  }
  static void Compose(const ReplyContext& context, Response&& rsp, core::OutBuffer* out) {
    if (context.dialect != Dialect::kBinary) [[likely]] {
      return TextCodec::Compose(context, std::move(rsp), out);
    }
    BinaryCodec::Compose(context, std::move(rsp), out);
  }

  // Who has said who it is would have to say it again elsewhere.
  bool CanMove() const { return gate_ == nullptr; }
  bool AtRest() const { return binary_ == nullptr ? text_.AtRest() : binary_->AtRest(); }

 private:
  enum class Stage : uint8_t { kNew, kTextLogin, kText, kBinary };

  core::ParseResult ParseOther(absl::string_view in, Request* req) {
    switch (stage_) {
      case Stage::kNew:
        if (in.empty()) return {};
        Begin(static_cast<uint8_t>(in[0]));
        return Parse(in, req);
      case Stage::kTextLogin: {
        const core::ParseResult result = login_->ParseText(in, req);
        if (login_->done()) stage_ = Stage::kText;
        return result;
      }
      case Stage::kText:
        return text_.Parse(in, req);
      case Stage::kBinary:
        return binary_->Parse(in, req);
    }
    return {};
  }
  void Begin(uint8_t first_byte) {
    if (gate_ != nullptr && login_ == nullptr) SetPeer("");
    if (first_byte == binary::kRequestMagic) {
      binary_ = std::make_unique<BinaryCodec>(limits_, login_.get());
      stage_ = Stage::kBinary;
    } else {
      stage_ = login_ == nullptr ? Stage::kText : Stage::kTextLogin;
    }
  }

  TextCodec text_;
  Stage stage_ = Stage::kNew;
  Limits limits_;
  core::AuthGate* gate_;
  std::unique_ptr<Login> login_;         // Null: nobody is asked.
  std::unique_ptr<BinaryCodec> binary_;  // Null: the dialect is text, or not known yet.
};

}  // namespace proto::memcache

static_assert(core::Codec<proto::memcache::Codec>);
