// See tls_stream.h.
#include "core/net/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/net/tls_context.h"
#include "core/net/worker.h"

namespace core {
namespace {

constexpr int kPiecesMax = 64;

// What the peer did wrong, in words for an operator; empties this thread's queue.
std::string TakeReason(SSL* ssl) {
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const char* words = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = words == nullptr ? "unknown reason" : words;
  ERR_clear_error();
  if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    return absl::StrCat(text, " (", X509_verify_cert_error_string(SSL_get_verify_result(ssl)), ")");
  }
  if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST) {
    return absl::StrCat(text, " (the client does not speak TLS)");
  }
  return text;
}

}  // namespace

struct TlsStream::Bio {
  static TlsStream* Of(BIO* bio) { return static_cast<TlsStream*>(BIO_get_data(bio)); }

  static int Read(BIO* bio, char* data, int size) {
    BIO_clear_retry_flags(bio);
    absl::string_view& source = Of(bio)->source_;
    if (source.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const size_t n = std::min(source.size(), static_cast<size_t>(size));
    std::memcpy(data, source.data(), n);
    source.remove_prefix(n);
    return static_cast<int>(n);
  }
  static int Write(BIO* bio, const char* data, int size) {
    Of(bio)->sealed_.Append(absl::string_view(data, static_cast<size_t>(size)));
    return size;
  }
  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO* New(TlsStream* stream) {
    static BIO_METHOD* const method = Method();  // For the life of the process.
    BIO* bio = BIO_new(method);
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    return bio;
  }

 private:
  static BIO_METHOD* Method() {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "session");
    BIO_meth_set_read(made, Read);
    BIO_meth_set_write(made, Write);
    BIO_meth_set_ctrl(made, Control);
    return made;
  }
};

std::unique_ptr<TlsStream> TlsStream::Take(ssl_st* ssl, int fd, Worker* worker,
                                           TlsContext* context) {
  std::unique_ptr<TlsStream> stream(new TlsStream(ssl, fd, worker, context));
  BIO* bio = Bio::New(stream.get());
  if (bio == nullptr) return nullptr;
  SSL_set_bio(ssl, bio, bio);
  SSL_set_accept_state(ssl);
  return stream;
}

TlsStream::TlsStream(ssl_st* ssl, int fd, Worker* worker, TlsContext* context)
    : ssl_(ssl), fd_(fd), worker_(worker), context_(context), sealed_(&worker->chunks) {
  if (worker_->tls_scratch == nullptr) worker_->tls_scratch.reset(new char[kScratchBytes]);
  worker_->loop.Arm(&deadline_, absl::ToInt64Milliseconds(context->options().handshake_timeout));
}

TlsStream::~TlsStream() { SSL_free(ssl_); }

char* TlsStream::received() const { return worker_->tls_scratch.get(); }
char* TlsStream::record() const { return worker_->tls_scratch.get() + kReceiveMax; }

bool TlsStream::holds_input() const {
  // The former is not true of a header that has come whole and alone; "RB" is that the body is next.
  return SSL_has_pending(ssl_) == 1 || SSL_rstate_string(ssl_)[1] == 'B';
}

ssize_t TlsStream::Read(char* into, size_t room) {
  DCHECK(room >= kReadRoomMin);
  size_t got = 0;
  ssize_t n;
  do {
    n = ::recv(fd_, received(), kReceiveMax, 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
    if (n < 0) break;
    if (n == 0) {
      ended_ = true;
      if (!established_ && heard_) FailHandshake("the client left");
      break;
    }
    heard_ = true;
    source_ = absl::string_view(received(), static_cast<size_t>(n));
    got += Decrypt(into + got, room - got);
  } while (static_cast<size_t>(n) == kReceiveMax && room - got >= kReadRoomMin && !ended());
  if (got > 0) return static_cast<ssize_t>(got);
  if (ended_) return 0;
  errno = broken_ ? EPROTO : EAGAIN;
  return -1;
}

// Everything received goes into OpenSSL, and everything that it can make of that comes out.
size_t TlsStream::Decrypt(char* into, size_t room) {
  if (ERR_peek_error() != 0) ERR_clear_error();  // Left by others, it would be taken for ours.
  size_t got = 0;
  for (;;) {
    size_t n = 0;
    const int status = SSL_read_ex(ssl_, into + got, room - got, &n);
    if (!established_ && SSL_is_init_finished(ssl_)) NoteEstablished();
    if (status == 1) {
      got += n;
      continue;
    }
    switch (SSL_get_error(ssl_, status)) {
      case SSL_ERROR_WANT_READ:
        DCHECK(source_.empty());
        return got;
      case SSL_ERROR_ZERO_RETURN:
        ended_ = true;
        return got;
      default:
        NoteError();
        return got;
    }
  }
}

void TlsStream::NoteEstablished() {
  established_ = true;
  deadline_.Cancel();
  NetMetrics& metrics = context_->metrics();
  metrics.tls_handshake.Add();
  if (SSL_session_reused(ssl_) == 1) metrics.tls_resume.Add();
}

void TlsStream::NoteError() {
  broken_ = true;
  const std::string reason = TakeReason(ssl_);
  if (!established_) return FailHandshake(reason);
  context_->metrics().tls_error.Add();
}

void TlsStream::FailHandshake(absl::string_view why) {
  deadline_.Cancel();
  if (std::exchange(failed_, true)) return;
  context_->NoteFailure(fd_, why, worker_->loop.now_ms());
}

void TlsStream::Deadline::OnTimer() {
  stream->FailHandshake("it took longer than tls_handshake_timeout");
  ::shutdown(stream->fd_, SHUT_RDWR);
}

bool TlsStream::Send(OutBuffer* plain, size_t* sent) {
  for (;;) {
    if (sealed_.empty() && !plain->empty() && !Encrypt(plain)) return false;
    if (sealed_.empty()) return true;
    struct iovec pieces[kPiecesMax];
    struct msghdr message = {};
    message.msg_iov = pieces;
    message.msg_iovlen = static_cast<size_t>(sealed_.Gather(pieces, kPiecesMax));
    const ssize_t n = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    sealed_.Consume(static_cast<size_t>(n));
    *sent += static_cast<size_t>(n);
  }
}

// Fills sealed_. Small pieces are gathered, so that a record is full unless it is the last; long ones
// are encrypted from where they are.
bool TlsStream::Encrypt(OutBuffer* plain) {
  while (!plain->empty() && sealed_.size() < kAheadMax) {
    struct iovec pieces[kPiecesMax];
    const int count = plain->Gather(pieces, kPiecesMax);
    size_t size = std::min(pieces[0].iov_len, kAheadMax);
    const char* data = static_cast<const char*>(pieces[0].iov_base);
    if (size >= kRecordMax) {
      size -= size % kRecordMax;
    } else if (count > 1) {
      size = 0;
      for (int i = 0; i < count && size < kRecordMax; ++i) {
        const size_t part = std::min(pieces[i].iov_len, kRecordMax - size);
        std::memcpy(record() + size, pieces[i].iov_base, part);
        size += part;
      }
      data = record();
    }
    if (!Seal(data, size)) return false;
    plain->Consume(size);
  }
  return true;
}

bool TlsStream::Seal(const char* data, size_t size) {
  size_t written = 0;
  if (SSL_write_ex(ssl_, data, size, &written) == 1 && written == size) return true;
  ERR_clear_error();
  broken_ = true;
  return false;
}

void TlsStream::SayGoodbye() {
  if (!established_ && heard_) FailHandshake("the connection closed");
  deadline_.Cancel();
  // In the middle of what is unsent it would be no goodbye.
  if (established_ && !broken_ && sealed_.empty()) SSL_shutdown(ssl_);
  if (sealed_.empty()) return;
  OutBuffer nothing;
  size_t sent = 0;
  (void)Send(&nothing, &sent);
}

}  // namespace core
