// The bare client that the proxy is measured against: asynchronous gRPC C++ (one completion queue,
// one thread, one channel) calling Get of a Momento-compatible server, N calls in flight.
//
// Flags: kUsage below. Keys are spelled as load_gen's. Prints one line of `name=value`: keys answered,
// misses, rate, this process's CPU per key, latency per call.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/momento/cacheclient.grpc.pb.h"
#include "tools/histogram.h"
#include "tools/load/keys.h"
#include "tools/server_process.h"

namespace {

struct Options {
  std::string target = "127.0.0.1:8080";
  std::string cache = "default-cache";
  int in_flight = 64;
  int keys = 10'000;
  int64_t requests = 200'000;
  int batch = 0;
  int fill_bytes = -1;
};

constexpr char kUsage[] =
    R"(grpc_load [FLAG VALUE]...
The bare asynchronous gRPC client that momento_proxy is measured against.

  --target HOST:PORT  whom to call (127.0.0.1:8080)
  --cache NAME        of the cache to ask (default-cache)
  --in-flight N       calls under way at any time (64)
  --keys N            how many different ones are asked for (10000)
  --requests N        ends when so many keys are answered (200000)
  --batch K           GetBatch of K keys instead of Get; 0: Get (0)
  --fill BYTES        stores every key first, values of so many bytes (stores nothing)
  --help              prints this
)";

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "grpc_load: %s\n", why.c_str());
  std::exit(1);
}

double CpuSeconds() { return tools::ServerProcess::Look(::getpid())->cpu_seconds; }

void AddMetadata(const Options& options, grpc::ClientContext* context) {
  context->AddMetadata("cache", options.cache);
  context->AddMetadata("authorization", "");
}

// One call under way; its address is its tag.
struct Call {
  virtual ~Call() = default;
  // Handles one event of the queue. True when the call is over.
  virtual bool OnEvent(bool ok) = 0;

  std::unique_ptr<grpc::ClientContext> context;
  grpc::Status status;
  int64_t start_ns = 0;
  int answered = 0;
  int misses = 0;
};

struct UnaryCall final : Call {
  UnaryCall(cache_client::Scs::Stub* stub, const std::string& key, grpc::CompletionQueue* queue,
            const Options& options) {
    context = std::make_unique<grpc::ClientContext>();
    AddMetadata(options, context.get());
    cache_client::GetRequest request;
    request.set_cache_key(key);
    start_ns = NowNs();
    reader = stub->AsyncGet(context.get(), request, queue);
    reader->Finish(&response, &status, this);
  }
  bool OnEvent(bool) override {
    answered = 1;
    misses = response.result() == cache_client::Hit ? 0 : 1;
    return true;
  }
  std::unique_ptr<grpc::ClientAsyncResponseReader<cache_client::GetResponse>> reader;
  cache_client::GetResponse response;
};

struct BatchCall final : Call {
  BatchCall(cache_client::Scs::Stub* stub, const cache_client::GetBatchRequest& request,
            grpc::CompletionQueue* queue, const Options& options) {
    context = std::make_unique<grpc::ClientContext>();
    AddMetadata(options, context.get());
    start_ns = NowNs();
    reader = stub->AsyncGetBatch(context.get(), request, queue, this);
  }
  bool OnEvent(bool ok) override {
    if (finishing) return true;
    if (started && ok) {
      ++answered;
      misses += response.result() == cache_client::Hit ? 0 : 1;
    }
    started = true;
    if (ok) {
      reader->Read(&response, this);
    } else {
      finishing = true;
      reader->Finish(&status, this);
    }
    return false;
  }
  std::unique_ptr<grpc::ClientAsyncReader<cache_client::GetResponse>> reader;
  cache_client::GetResponse response;
  bool started = false;
  bool finishing = false;
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options),
        channel_(grpc::CreateChannel(options.target, grpc::InsecureChannelCredentials())),
        stub_(cache_client::Scs::NewStub(channel_)) {
    if (!channel_->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
      Die("cannot connect to " + options.target);
    }
  }

  void Fill() {
    for (int i = 0; i < options_.keys; ++i) {
      grpc::ClientContext context;
      AddMetadata(options_, &context);
      cache_client::SetRequest request;
      request.set_cache_key(keys_.Spell(i));
      request.set_cache_body(std::string(options_.fill_bytes, 'v'));
      request.set_ttl_milliseconds(3'600'000);
      cache_client::SetResponse response;
      const grpc::Status status = stub_->Set(&context, request, &response);
      if (!status.ok()) Die("fill: " + status.error_message());
    }
  }

  void Run() {
    const int64_t start_ns = NowNs();
    const double start_cpu = CpuSeconds();
    for (int i = 0; i < options_.in_flight; ++i) Start();
    tools::Latencies latencies;
    int64_t answered = 0, misses = 0, under_way = options_.in_flight;
    void* tag = nullptr;
    bool ok = false;
    while (under_way > 0 && queue_.Next(&tag, &ok)) {
      Call* call = static_cast<Call*>(tag);
      if (!call->OnEvent(ok)) continue;
      if (!call->status.ok()) Die("call failed: " + call->status.error_message());
      answered += call->answered;
      misses += call->misses;
      latencies.Record(NowNs() - call->start_ns);
      delete call;
      --under_way;
      if (answered < options_.requests) {
        Start();
        ++under_way;
      }
    }
    const double seconds = (NowNs() - start_ns) / 1e9;
    std::printf("requests=%lld misses=%lld seconds=%.3f rate=%.0f cpu_us=%.3f p50_us=%.1f p99_us=%.1f\n",
                static_cast<long long>(answered), static_cast<long long>(misses), seconds,
                answered / seconds, (CpuSeconds() - start_cpu) * 1e6 / answered,
                latencies.Quantile(0.5) / 1e3, latencies.Quantile(0.99) / 1e3);
  }

 private:
  std::string RandomKey() { return keys_.Spell(rng_() % options_.keys); }

  void Start() {
    if (options_.batch == 0) {
      new UnaryCall(stub_.get(), RandomKey(), &queue_, options_);
      return;
    }
    cache_client::GetBatchRequest request;
    for (int i = 0; i < options_.batch; ++i) request.add_items()->set_cache_key(RandomKey());
    new BatchCall(stub_.get(), request, &queue_, options_);
  }

  const Options options_;
  const tools::load::KeySpace keys_ =
      *tools::load::KeySpace::Create("key:", options_.keys, tools::load::Numbers::Always(20));
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<cache_client::Scs::Stub> stub_;
  grpc::CompletionQueue queue_;
  std::mt19937 rng_{1};
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--help" || flag == "-h") {
      std::fputs(kUsage, stdout);
      std::exit(0);
    }
    if (i + 1 == argc) Die("missing value of " + flag);
    const char* value = argv[i + 1];
    if (flag == "--target") {
      options.target = value;
      continue;
    }
    if (flag == "--cache") {
      options.cache = value;
      continue;
    }
    int64_t number = 0;
    if (!absl::SimpleAtoi(value, &number)) Die("not a number: " + flag + " " + value);
    if (flag == "--in-flight") options.in_flight = number;
    else if (flag == "--keys") options.keys = number;
    else if (flag == "--requests") options.requests = number;
    else if (flag == "--batch") options.batch = number;
    else if (flag == "--fill") options.fill_bytes = number;
    else Die("unknown flag " + flag);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  Load load(options);
  if (options.fill_bytes >= 0) load.Fill();
  load.Run();
}
