// The kernel's side of the contract, with the versions that brought it: buffer rings 5.19,
// multishot receives 6.0, DEFER_TASKRUN 6.1, which is asked for at setup, so that an older kernel
// is found out there.
#include "core/net/ring.h"

#include <liburing.h>
#include <poll.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace core {
namespace {

constexpr unsigned kRequestsMax = 1024;     // Between two turns; past it they are submitted early.
constexpr unsigned kResultsMax = 8 * 1024;  // The kernel keeps more, but in a slower place.
constexpr uint16_t kBufferGroup = 0;

// The sysctl that forbids io_uring to some or all; 0 if there is none.
int Disabled() {
  std::FILE* file = std::fopen("/proc/sys/kernel/io_uring_disabled", "re");
  if (file == nullptr) return 0;
  int level = 0;
  if (std::fscanf(file, "%d", &level) != 1) level = 0;
  std::fclose(file);
  return level;
}

absl::Status WhyNot(int error) {
  std::string why = std::strerror(error);
  if (error == ENOSYS) why = "this kernel has none";
  if (error == EINVAL) why = "this kernel is too old, Linux 6.1 or later is needed";
  if (error == EPERM) {
    const int level = Disabled();
    why = level > 0 ? absl::StrCat("forbidden by the sysctl kernel.io_uring_disabled = ", level)
                    : "forbidden, by a seccomp filter as containers have it";
  }
  return absl::UnavailableError(absl::StrCat("no io_uring: ", why));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Ring>> Ring::Create(const Options& options, RingMetrics* metrics) {
  std::unique_ptr<Ring> ring(new Ring(options, metrics));
  const int error = ring->Setup();
  if (error != 0) return WhyNot(error);
  return ring;
}

Ring::Ring(const Options& options, RingMetrics* metrics)
    : options_(options), metrics_(*metrics), ring_(std::make_unique<struct io_uring>()) {}

// Returns an errno, 0 if all is well.
int Ring::Setup() {
  struct io_uring_params params = {};
  // Made by main, used by a worker: disabled until the one that is to issue requests enables it.
  params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
  params.cq_entries = kResultsMax;
  const int made = ::io_uring_queue_init_params(kRequestsMax, ring_.get(), &params);
  if (made < 0) return -made;
  made_ = true;
  // The list of buffers, which must begin a page, and the buffers.
  const size_t list_bytes = (options_.buffers * sizeof(struct io_uring_buf) + 4095) & ~size_t{4095};
  buffers_bytes_ = list_bytes + size_t{options_.buffers} * options_.buffer_bytes;
  void* const memory =
      ::mmap(nullptr, buffers_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return errno;
  ring_of_buffers_ = static_cast<struct io_uring_buf_ring*>(memory);
  buffers_ = static_cast<char*>(memory) + list_bytes;
  struct io_uring_buf_reg list = {};
  list.ring_addr = reinterpret_cast<uintptr_t>(ring_of_buffers_);
  list.ring_entries = options_.buffers;
  list.bgid = kBufferGroup;
  const int listed = ::io_uring_register_buf_ring(ring_.get(), &list, 0);
  if (listed < 0) return -listed;
  ::io_uring_buf_ring_init(ring_of_buffers_);
  for (uint32_t i = 0; i < options_.buffers; ++i) GiveBuffer(static_cast<uint16_t>(i));
  return 0;
}

Ring::~Ring() {
  if (enabled_) metrics_.workers.Add(-1);
  // Ends what is under way. Only then its memory may go.
  if (made_) ::io_uring_queue_exit(ring_.get());
  if (ring_of_buffers_ != nullptr) ::munmap(ring_of_buffers_, buffers_bytes_);
}

void Ring::GiveBuffer(uint16_t index) {
  ::io_uring_buf_ring_add(ring_of_buffers_, buffers_ + size_t{index} * options_.buffer_bytes,
                          options_.buffer_bytes, index, ::io_uring_buf_ring_mask(options_.buffers),
                          0);
  ::io_uring_buf_ring_advance(ring_of_buffers_, 1);
}

void Ring::Enable(int epoll) {
  enabled_ = true;
  metrics_.workers.Add(1);
  epoll_ = epoll;
  // io_uring_enable_rings() is missing from liburing 2.3's shared library.
  CHECK(::io_uring_register(ring_->ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) == 0);
  // Spares a look into the table of descriptors a turn. Without it things work as well.
  (void)::io_uring_register_ring_fd(ring_.get());
  WatchEpoll();
}

// Once, and again after each look: a watch that goes on by itself would tell of new events only.
void Ring::WatchEpoll() {
  struct io_uring_sqe* const request = Request(kPoll, 0);
  ::io_uring_prep_poll_add(request, epoll_, POLLIN);
  ::io_uring_sqe_set_data64(request, kPoll);
}

// A request to fill in. io_uring_prep_*() clears it, so what it is told by is set again after that.
struct io_uring_sqe* Ring::Request(Kind kind, Link link) {
  struct io_uring_sqe* request;
  // The kernel refuses to take more only while it has no memory for them.
  while ((request = ::io_uring_get_sqe(ring_.get())) == nullptr) Submit();
  if (kind == kReceive || kind == kSend) {
    if (!std::exchange(sockets_[link].named, true)) named_.push_back(link);
  }
  return request;
}

void Ring::Submit() {
  (void)::io_uring_submit(ring_.get());
  Submitted();
}

void Ring::Submitted() {
  if (::io_uring_sq_ready(ring_.get()) != 0) return;
  for (const Link link : named_) sockets_[link].named = false;
  named_.clear();
  messages_used_ = 0;
}

void Ring::Leave() {
  Submit();
  left_ = true;
}

void Ring::Wait(int64_t timeout_ms) {
  if (timeout_ms == 0) {
    (void)::io_uring_submit_and_get_events(ring_.get());
  } else if (timeout_ms < 0) {
    (void)::io_uring_submit_and_wait(ring_.get(), 1);
  } else {
    struct __kernel_timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1'000'000};
    struct io_uring_cqe* first;
    (void)::io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &timeout, nullptr);
  }
  Submitted();
}

struct Ring::Event {
  explicit Event(const struct io_uring_cqe& cqe)
      : kind(static_cast<Kind>(cqe.user_data & ((1 << kKindBits) - 1))),
        link(static_cast<Link>(cqe.user_data >> kKindBits)),
        result(cqe.res),
        flags(cqe.flags) {}
  bool has_buffer() const { return (flags & IORING_CQE_F_BUFFER) != 0; }
  uint16_t buffer() const { return static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT); }

  Kind kind;
  Link link;
  int result;
  uint32_t flags;
};

void Ring::Dispatch(absl::FunctionRef<void()> poll) {
  for (;;) {
    struct io_uring_cqe* next[kGroup];
    const unsigned n = ::io_uring_peek_batch_cqe(ring_.get(), next, kGroup);
    if (n == 0) return;
    absl::InlinedVector<Event, kGroup> events;
    for (unsigned i = 0; i < n; ++i) events.emplace_back(*next[i]);
    ::io_uring_cq_advance(ring_.get(), n);
    if (n > 1) {
      for (const Event& event : events) Foretell(event);
    }
    for (const Event& event : events) {
      switch (event.kind) {
        case kReceive:
          Received(event);
          break;
        case kSend:
          Sent(event.link, event.result);
          break;
        case kPoll:
          poll();
          WatchEpoll();
          break;
        case kCancel:
          break;  // What was to be stopped had ended.
      }
    }
  }
}

absl::string_view Ring::BytesOf(const Event& event) const {
  if (!event.has_buffer() || event.result <= 0) return {};
  return {buffers_ + size_t{event.buffer()} * options_.buffer_bytes,
          static_cast<size_t>(event.result)};
}

void Ring::Foretell(const Event& event) {
  if (event.kind != kReceive) return;
  RingHandler* const handler = sockets_[event.link].handler;
  const absl::string_view bytes = BytesOf(event);
  if (handler != nullptr && !bytes.empty()) handler->Foretell(bytes);
}

void Ring::Received(const Event& event) {
  const Link link = event.link;
  const int result = event.result;
  const bool over = (event.flags & IORING_CQE_F_MORE) == 0;
  if (event.has_buffer()) {
    RingHandler* const handler = sockets_[link].handler;
    const absl::string_view bytes = BytesOf(event);
    if (handler != nullptr && !bytes.empty()) handler->OnReceived(bytes);
    GiveBuffer(event.buffer());
  }
  if (!over) return;
  sockets_[link].receiving = false;  // Not before, or a handler that closes would free the link.
  if (result == -ENOBUFS) metrics_.starve.Add();
  RingHandler* const handler = sockets_[link].handler;  // It may have been closed meanwhile.
  if (handler == nullptr) return FreeIfDone(link);
  handler->OnReceiveEnd(result > 0 ? -ENOBUFS : result);
}

void Ring::Sent(Link link, int result) {
  Socket& socket = sockets_[link];
  socket.sending = false;
  socket.unsent.reset();
  if (socket.handler == nullptr) return FreeIfDone(link);
  socket.handler->OnSent(result);
}

Ring::Link Ring::Open(int fd, RingHandler* handler) {
  DCHECK(enabled_);
  if (free_.empty()) {
    free_.push_back(static_cast<Link>(sockets_.size()));
    sockets_.emplace_back();
  }
  const Link link = free_.back();
  free_.pop_back();
  sockets_[link].handler = handler;
  sockets_[link].fd = fd;
  return link;
}

void Ring::Receive(Link link) {
  Socket& socket = sockets_[link];
  DCHECK(!socket.receiving);
  socket.receiving = true;
  struct io_uring_sqe* const request = Request(kReceive, link);
  ::io_uring_prep_recv_multishot(request, socket.fd, nullptr, 0, 0);
  request->flags |= IOSQE_BUFFER_SELECT;
  request->buf_group = kBufferGroup;
  ::io_uring_sqe_set_data64(request, uint64_t{link} << kKindBits | kReceive);
}

void Ring::StopReceiving(Link link) {
  if (sockets_[link].receiving) Cancel(kReceive, link);
}

void Ring::Cancel(Kind kind, Link link) {
  struct io_uring_sqe* const request = Request(kCancel, link);
  ::io_uring_prep_cancel64(request, uint64_t{link} << kKindBits | kind, 0);
  request->flags |= IOSQE_CQE_SKIP_SUCCESS;
  ::io_uring_sqe_set_data64(request, kCancel);
}

void Ring::Send(Link link, const struct iovec* pieces, int count) {
  Socket& socket = sockets_[link];
  DCHECK(!socket.sending && count > 0 && count <= kPiecesMax);
  socket.sending = true;
  struct io_uring_sqe* const request = Request(kSend, link);
  if (count == 1) {
    ::io_uring_prep_send(request, socket.fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL);
  } else {
    if (messages_used_ == messages_.size()) messages_.push_back(std::make_unique<Message>());
    Message& message = *messages_[messages_used_++];
    std::memcpy(message.pieces, pieces, static_cast<size_t>(count) * sizeof(*pieces));
    message.header = {};
    message.header.msg_iov = message.pieces;
    message.header.msg_iovlen = static_cast<size_t>(count);
    ::io_uring_prep_sendmsg(request, socket.fd, &message.header, MSG_NOSIGNAL);
  }
  ::io_uring_sqe_set_data64(request, uint64_t{link} << kKindBits | kSend);
}

void Ring::Close(Link link, OutBuffer&& unsent) {
  Socket& socket = sockets_[link];
  socket.handler = nullptr;
  if (socket.sending) socket.unsent = std::make_unique<OutBuffer>(std::move(unsent));
  if (left_) return;  // The ring's own end is near, and ends everything.
  // Or the request would go to whatever has the descriptor's number by then.
  if (socket.named) Submit();
  if (socket.receiving) Cancel(kReceive, link);
  if (socket.sending) Cancel(kSend, link);
  FreeIfDone(link);
}

void Ring::FreeIfDone(Link link) {
  Socket& socket = sockets_[link];
  if (socket.receiving || socket.sending) return;
  socket = {};
  free_.push_back(link);
}

}  // namespace core
