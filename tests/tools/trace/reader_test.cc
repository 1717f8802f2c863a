// Trace files: plain and compressed, whole and damaged.
#include "tools/trace/reader.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include <fstream>
#include <string>
#include <vector>

#include "tools/trace/recorded.h"

namespace trace {
namespace {

class File {
 public:
  explicit File(const std::string& bytes) {
    const int fd = mkstemp(path_);
    std::ofstream(path_, std::ios::binary) << bytes;
    close(fd);
  }
  ~File() { unlink(path_); }
  std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/reader_test.XXXXXX";
};

// With a checksum, as the zstd program writes.
std::string Compressed(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  out.resize(ZSTD_compress2(context, out.data(), out.size(), bytes.data(), bytes.size()));
  ZSTD_freeCCtx(context);
  return out;
}

// More than one block of input and of output.
std::string ManyLines(int lines) {
  std::string text = "timestamp,key,key size,value size,client,operation,ttl\n";
  for (int i = 0; i < lines; ++i) {
    text += std::to_string(i) + ",key" + std::to_string(i * 7919) + ",20,100,0,get,0\n";
  }
  return text;
}

int64_t LastSecond(const std::string& path, absl::Status* status, int* requests) {
  auto reader = Reader::Open(path);
  EXPECT_TRUE(reader.ok()) << reader.status();
  Request request;
  for (*requests = 0; reader->Next(&request); ++*requests) {
    EXPECT_EQ(request.second, *requests);
    EXPECT_EQ(request.key, "key" + std::to_string(*requests * 7919));
  }
  *status = reader->status();
  EXPECT_EQ(reader->lines_skipped(), 1u);
  return request.second;
}

TEST(ReaderTest, ReadsPlainAndCompressedAlike) {
  constexpr int kLines = 30'000;
  const std::string text = ManyLines(kLines);
  // Two frames in a row are one file.
  const size_t half = text.size() / 2;
  for (const std::string& bytes : {text, text.substr(0, text.size() - 1), Compressed(text),
                                   Compressed(text.substr(0, half)) + Compressed(text.substr(half))}) {
    const File file(bytes);
    absl::Status status;
    int requests = 0;
    EXPECT_EQ(LastSecond(file.path(), &status, &requests), kLines - 1);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(requests, kLines);
  }
}

TEST(ReaderTest, SaysWhenAFileIsDamaged) {
  const std::string whole = Compressed(ManyLines(30'000));
  std::string garbled = whole;
  garbled.replace(whole.size() / 2, 64, std::string(64, '\xff'));
  for (const std::string& bytes : {whole.substr(0, whole.size() / 2), garbled}) {
    const File file(bytes);
    EXPECT_FALSE(Recorded::Read(file.path()).ok());
  }
}

TEST(ReaderTest, EmptyAndMissingFiles) {
  const File empty("");
  auto recorded = Recorded::Read(empty.path());
  ASSERT_TRUE(recorded.ok());
  EXPECT_TRUE(recorded->requests.empty());
  EXPECT_TRUE(absl::IsNotFound(Recorded::Read("/nowhere/at/all").status()));
}

TEST(RecordedTest, NumbersKeysAndKeepsTimeFromSteppingBack) {
  const File file("5,a,10,1,0,get,0\n4,b,10,2,0,set,60\n6,a,10,3,0,delete,0\n");
  auto recorded = Recorded::Read(file.path());
  ASSERT_TRUE(recorded.ok());
  ASSERT_EQ(recorded->requests.size(), 3u);
  EXPECT_EQ(recorded->keys(), 2u);
  EXPECT_EQ(recorded->IdOf(0), "a");
  EXPECT_EQ(recorded->IdOf(1), "b");
  EXPECT_EQ(recorded->requests[1].second, 5);
  EXPECT_EQ(recorded->requests[2].key, 0u);
}

}  // namespace
}  // namespace trace
