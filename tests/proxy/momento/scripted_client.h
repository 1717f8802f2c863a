// The client against a scripted server, both on the test's own loop.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/log/memory_log.h"
#include "proxy/momento/backend.h"
#include "tests/proxy/momento/fake_server.h"

namespace proxy::momento {

inline const std::string kHit = std::string("\x08\x02\x12\x01v", 5);  // result: Hit, cache_body: "v".

inline void AnswerHit(FakePeer* peer, int32_t stream, const FakeRequest&) {
  peer->ReplyGrpc(stream, kHit);
}

// Stands for the rate limit of a cache.
struct Limit final : CallObserver {
  bool AdmitExtra(const ExtraCall& call) override {
    asked.push_back(call);
    return admits;
  }
  void OnCallEnded(const Error&, int64_t, int64_t) override { ++ended; }
  bool admits = true;
  std::vector<ExtraCall> asked;
  int ended = 0;
};

class ScriptedClientTest : public ::testing::Test {
 protected:
  void StartServer(FakeScript script, uint16_t port = 0) {
    server_ = std::make_unique<FakeServer>(&loop_, std::move(script), port);
    momento_.endpoint_override = server_->target();
  }
  void StartClient(int connections = 1) {
    auto backend = Backend::Create(momento_, {}, &clock_, &registry_, &log_,
                                   [](const char*) { return std::string(); });
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    cache_.cache_name = "c";
    client_ = backend_->NewClient(&loop_, cache_, connections);
  }
  void Start(FakeScript script) {
    StartServer(std::move(script));
    StartClient();
  }

  template <class Until>
  void RunUntil(Until until, int turns = 4000) {
    for (int turn = 0; turn < turns && !until(); ++turn) loop_.RunOnce(5);
    ASSERT_TRUE(until());
  }
  void WaitReady(int connections = 1) {
    RunUntil([&] { return client_->ready_connections() == connections; });
  }
  // Starts a Get whose result lands in results_.
  void StartGet() {
    client_->Get("k", [this](GetResult result) { results_.push_back(std::move(result)); });
    client_->Flush();
  }
  GetResult Get() {
    const size_t before = results_.size();
    StartGet();
    RunUntil([&] { return results_.size() > before; });
    return results_.empty() ? GetResult() : results_.back();
  }

  // A number of the admin port's metrics page; -1 if it is not there.
  int64_t Metric(const std::string& name) const {
    const std::string page = registry_.PrometheusText();
    const size_t at = page.find(absl::StrCat("\n", name, " "));
    return at == std::string::npos ? -1 : std::stoll(page.substr(at + name.size() + 2));
  }

  core::RealClock clock_;
  core::EventLoop loop_{&clock_};
  core::MemoryLog log_;
  core::Registry registry_;
  config::Momento momento_;
  config::Cache cache_;
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Client> client_;
  std::vector<GetResult> results_;
};

}  // namespace proxy::momento
