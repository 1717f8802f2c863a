// Pieces are kept in a deque; only the last may be an open chunk. See out_buffer.h.
#include "core/net/out_buffer.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace core {

constexpr size_t kFirstChunkBytes = 512;  // A stored reply: a status line or a small value.

void OutBuffer::Append(Bytes bytes) {
  const size_t least = bytes.brief() ? kBriefReferenceMin : kReferenceMin;
  if (bytes.size() < least || bytes.borrowed()) return Append(bytes.view());
  SealTail();
  has_brief_ |= bytes.brief();
  Piece piece;
  piece.end = bytes.size();
  piece.bytes = std::move(bytes);
  size_ += piece.end;
  pieces_.push_back(std::move(piece));
}

void OutBuffer::KeepBrief() {
  has_brief_ = false;
  for (Piece& piece : pieces_) {
    if (!piece.bytes.brief()) continue;
    piece.bytes = Bytes(std::string(piece.bytes.view().substr(piece.begin, piece.end - piece.begin)));
    piece.end -= piece.begin;
    piece.begin = 0;
  }
}

void OutBuffer::Append(OutBuffer&& other) {
  other.SealTail();
  has_brief_ |= std::exchange(other.has_brief_, false);
  for (Piece& piece : other.pieces_) {
    if (piece.chunk != nullptr) {
      Append(absl::string_view(piece.chunk.get() + piece.begin, piece.end - piece.begin));
      other.Free(piece);
      continue;
    }
    SealTail();
    size_ += piece.end - piece.begin;
    pieces_.push_back(std::move(piece));
  }
  other.pieces_.clear();
  other.size_ = 0;
}

void OutBuffer::AppendNumber(uint64_t value) {
  constexpr size_t kDigitsMax = 20;
  char* at = Reserve(kDigitsMax);
  Commit(std::to_chars(at, at + kDigitsMax, value).ptr - at);
}

void OutBuffer::AppendSlow(absl::string_view bytes) {
  while (!bytes.empty()) {
    size_t room = limit_ - cursor_;
    if (room == 0) {
      NewChunk(bytes.size());
      room = limit_ - cursor_;
    }
    const size_t n = std::min(room, bytes.size());
    std::memcpy(cursor_, bytes.data(), n);
    cursor_ += n;
    size_ += n;
    bytes.remove_prefix(n);
  }
}

void OutBuffer::NewChunk(size_t at_least) {
  SealTail();
  Piece piece;
  if (pool_ != nullptr) {
    piece.chunk = pool_->Get();
    piece.capacity = ChunkPool::kChunkBytes;
  } else {
    piece.capacity = std::clamp(std::max(at_least, size_), kFirstChunkBytes, ChunkPool::kChunkBytes);
    piece.chunk.reset(new char[piece.capacity]);
  }
  cursor_ = piece.chunk.get();
  limit_ = cursor_ + piece.capacity;
  tail_open_ = true;
  pieces_.push_back(std::move(piece));
}

void OutBuffer::SealTail() {
  if (!tail_open_) return;
  Piece& tail = pieces_.back();
  tail.end = cursor_ - tail.chunk.get();
  tail_open_ = false;
  cursor_ = limit_ = nullptr;
  if (tail.begin == tail.end) {
    Free(tail);
    pieces_.pop_back();
  }
}

void OutBuffer::Free(Piece& piece) {
  if (piece.chunk != nullptr && pool_ != nullptr) pool_->Put(std::move(piece.chunk));
}

int OutBuffer::Gather(struct iovec* iov, int max) const {
  int n = 0;
  for (const Piece& piece : pieces_) {
    if (n == max) break;
    const bool open = tail_open_ && &piece == &pieces_.back();
    const char* data = piece.chunk != nullptr ? piece.chunk.get() : piece.bytes.view().data();
    const size_t end = open ? cursor_ - piece.chunk.get() : piece.end;
    if (end == piece.begin) continue;
    iov[n++] = {const_cast<char*>(data) + piece.begin, end - piece.begin};
  }
  return n;
}

void OutBuffer::Consume(size_t n) {
  size_ -= n;
  if (size_ == 0) return Clear();
  while (n > 0) {
    Piece& piece = pieces_.front();
    const bool open = tail_open_ && pieces_.size() == 1;
    const size_t end = open ? cursor_ - piece.chunk.get() : piece.end;
    const size_t take = std::min(n, end - piece.begin);
    piece.begin += take;
    n -= take;
    if (piece.begin == end && !open) {
      Free(piece);
      pieces_.pop_front();
    }
  }
}

void OutBuffer::Clear() {
  for (Piece& piece : pieces_) Free(piece);
  pieces_.clear();
  has_brief_ = false;
  tail_open_ = false;
  cursor_ = limit_ = nullptr;
  size_ = 0;
}

std::string OutBuffer::ToString() const {
  std::string all;
  for (const Piece& piece : pieces_) {
    const bool open = tail_open_ && &piece == &pieces_.back();
    const char* data = piece.chunk != nullptr ? piece.chunk.get() : piece.bytes.view().data();
    const size_t end = open ? cursor_ - piece.chunk.get() : piece.end;
    all.append(data + piece.begin, end - piece.begin);
  }
  return all;
}

}  // namespace core
