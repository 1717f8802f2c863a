// What a command costs to read and its answer to write, by dialect, in this process: no socket, no
// cache.
//
//   codec_bench [--key-bytes N] [--value-bytes N] [--commands N] [--rounds N]
//
// A buffer of like commands is parsed from its beginning to its end, and every one is composed its
// answer into an output buffer that is emptied now and then, as a worker does it. Nanoseconds of CPU
// per command, of 32-key gets per key; the least of the rounds, with the median.
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/memcache/binary.h"
#include "proto/memcache/codec.h"

namespace {

namespace memcache = proto::memcache;
namespace binary = proto::memcache::binary;
using memcache::Codec;
using memcache::Dialect;

struct Options {
  size_t key_bytes = 20;
  size_t value_bytes = 64;
  int commands = 1000;  // In the buffer.
  int rounds = 201;
};

constexpr int kManyKeys = 32;
constexpr size_t kOutBytesMax = 64 * 1024;

enum class Work : uint8_t { kGet, kManyGet, kSet };

std::string Packet(binary::Opcode opcode, absl::string_view extras, absl::string_view key,
                   absl::string_view value) {
  std::string out(binary::kHeaderBytes, '\0');
  out[0] = static_cast<char>(binary::kRequestMagic);
  out[1] = static_cast<char>(opcode);
  binary::Write<uint16_t>(static_cast<uint16_t>(key.size()), out.data() + 2);
  out[4] = static_cast<char>(extras.size());
  binary::Write<uint32_t>(static_cast<uint32_t>(extras.size() + key.size() + value.size()),
                          out.data() + 8);
  return absl::StrCat(out, extras, key, value);
}

std::string Spell(Dialect dialect, Work work, absl::string_view key, absl::string_view value) {
  std::string out;
  switch (dialect) {
    case Dialect::kText:
      if (work == Work::kSet) return absl::StrCat("set ", key, " 0 0 ", value.size(), "\r\n", value, "\r\n");
      if (work == Work::kGet) return absl::StrCat("get ", key, "\r\n");
      out = "get";
      for (int i = 0; i < kManyKeys; ++i) absl::StrAppend(&out, " ", key);
      return out + "\r\n";
    case Dialect::kMeta:
      if (work == Work::kSet) return absl::StrCat("ms ", key, " ", value.size(), " T0 F0\r\n", value, "\r\n");
      if (work == Work::kGet) return absl::StrCat("mg ", key, " f v\r\n");
      for (int i = 0; i < kManyKeys; ++i) absl::StrAppend(&out, "mg ", key, " f k v q\r\n");
      return out + "mn\r\n";
    case Dialect::kBinary:
      if (work == Work::kSet) return Packet(binary::Opcode::kSet, std::string(8, '\0'), key, value);
      if (work == Work::kGet) return Packet(binary::Opcode::kGet, "", key, "");
      for (int i = 0; i < kManyKeys; ++i) out += Packet(binary::Opcode::kGetKQ, "", key, "");
      return out + Packet(binary::Opcode::kNoop, "", "", "");
  }
  return out;
}

double CpuNs() {
  struct timespec used;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e9 + static_cast<double>(used.tv_nsec);
}

void Answer(const memcache::Request& req, absl::string_view value, memcache::Response* rsp) {
  switch (req.op) {
    case memcache::Op::kGet:
      rsp->status = memcache::Status::kValues;
      rsp->items.resize(req.keys.size());
      for (size_t i = 0; i < req.keys.size(); ++i) {
        rsp->items[i].key = req.keys[i];
        rsp->items[i].value = core::Bytes::Borrowed(value);
      }
      return;
    case memcache::Op::kStore:
      rsp->status = memcache::Status::kStored;
      return;
    default:
      rsp->status = memcache::Status::kOk;
      return;
  }
}

// One pass over the buffer. Returns the commands found.
int Pass(absl::string_view in, absl::string_view value, core::ChunkPool* pool) {
  Codec codec(memcache::Limits{});
  memcache::Request req;
  memcache::Response rsp;
  core::OutBuffer out(pool);
  int commands = 0;
  while (!in.empty()) {
    const core::ParseResult result = codec.Parse(in, &req);
    if (result.status != core::ParseStatus::kComplete) {
      std::fprintf(stderr, "codec_bench: not a command: %s\n", std::string(in.substr(0, 40)).c_str());
      std::exit(1);
    }
    in.remove_prefix(result.consumed);
    ++commands;
    Answer(req, value, &rsp);
    Codec::Compose(Codec::ContextOf(req), std::move(rsp), &out);
    if (out.size() > kOutBytesMax) out.Clear();
  }
  return commands;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("What reading a command and writing its answer costs, by dialect.", "codec_bench");
  app.add_option("--key-bytes", options.key_bytes, "length of a key")->check(CLI::Range(1, 250));
  app.add_option("--value-bytes", options.value_bytes, "length of a value")->check(CLI::Range(0, 1 << 16));
  app.add_option("--commands", options.commands, "commands in the buffer")->check(CLI::Range(1, 1'000'000));
  app.add_option("--rounds", options.rounds, "passes over it")->check(CLI::Range(1, 1'000'000));
  CLI11_PARSE(app, argc, argv);
  const std::string key(options.key_bytes, 'k');
  const std::string value(options.value_bytes, 'v');
  struct Row {
    const char* name;
    Work work;
    int keys;
  };
  constexpr Row kRows[] = {{"get", Work::kGet, 1}, {"get of 32 keys", Work::kManyGet, kManyKeys}, {"set", Work::kSet, 1}};
  const std::pair<const char*, Dialect> kDialects[] = {
      {"text", Dialect::kText}, {"meta", Dialect::kMeta}, {"binary", Dialect::kBinary}};
  std::printf("ns a key, read and answered; %zu-byte keys, %zu-byte values: least (median) of %d\n\n",
              options.key_bytes, options.value_bytes, options.rounds);
  std::printf("| | text | meta | binary |\n|---|---|---|---|\n");
  core::ChunkPool pool;
  for (const Row& row : kRows) {
    std::vector<std::string> inputs;
    std::vector<std::vector<double>> ns(std::size(kDialects));
    for (const auto& [name, dialect] : kDialects) {
      const std::string one = Spell(dialect, row.work, key, value);
      std::string input;
      for (int i = 0; i < options.commands; i += row.keys) input += one;
      inputs.push_back(std::move(input));
    }
    const int keys = (options.commands + row.keys - 1) / row.keys * row.keys;
    for (int round = 0; round < options.rounds; ++round) {
      for (size_t i = 0; i < inputs.size(); ++i) {
        const double begin = CpuNs();
        Pass(inputs[i], value, &pool);
        ns[i].push_back((CpuNs() - begin) / keys);
      }
    }
    std::printf("| %s |", row.name);
    for (std::vector<double>& of : ns) {
      std::sort(of.begin(), of.end());
      std::printf(" %.0f (%.0f) |", of.front(), of[of.size() / 2]);
    }
    std::printf("\n");
  }
  return 0;
}
