#include "core/auth/gate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace core {
namespace {

using Verdict = AuthGate::Verdict;

class Gate : public ::testing::Test {
 protected:
  Gate() { Write("user:pass\n"); }
  ~Gate() override { ::unlink(file_.c_str()); }
  void Write(const std::string& text) { std::ofstream(file_) << text; }
  std::unique_ptr<AuthGate> Open() {
    auto gate = AuthGate::Open("server.auth_file", file_, &clock_, &registry_, {});
    EXPECT_TRUE(gate.ok()) << gate.status();
    return *std::move(gate);
  }

  const std::string file_ = absl::StrCat("/tmp/core_auth_test_", ::getpid());
  ManualClock clock_;
  Registry registry_;
};

TEST_F(Gate, LetsInWhoIsInTheFile) {
  const auto gate = Open();
  EXPECT_EQ(gate->Try("a", "user", "pass"), Verdict::kWelcome);
  EXPECT_EQ(gate->Try("a", "user", "wrong"), Verdict::kRefused);
  EXPECT_EQ(gate->metrics().success.Value(), 1u);
  EXPECT_EQ(gate->metrics().failure.Value(), 1u);
}

TEST_F(Gate, AfterTooManyNothingIsLookedAt) {
  const auto gate = Open();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(gate->Try("a", "user", "wrong"), Verdict::kRefused);
  EXPECT_EQ(gate->Try("a", "user", "pass"), Verdict::kTooMany);
  EXPECT_EQ(gate->Try("b", "user", "pass"), Verdict::kWelcome);
  EXPECT_EQ(gate->metrics().limit.Value(), 1u);
  clock_.AdvanceMs(1000);
  EXPECT_EQ(gate->Try("a", "user", "pass"), Verdict::kWelcome);
}

TEST_F(Gate, ReadsTheFileAgainWhenTold) {
  const auto gate = Open();
  Write("user:new\n");
  EXPECT_EQ(gate->Try("a", "user", "pass"), Verdict::kWelcome);
  EXPECT_TRUE(gate->Reload().ok());
  EXPECT_EQ(gate->Try("a", "user", "pass"), Verdict::kRefused);
  EXPECT_EQ(gate->Try("a", "user", "new"), Verdict::kWelcome);
  Write("SECRET\n");
  const absl::Status bad = gate->Reload();
  EXPECT_EQ(bad.message(), absl::StrCat("server.auth_file: \"", file_,
                                        "\": line 1: expected user:password"));
  EXPECT_EQ(gate->Try("a", "user", "new"), Verdict::kWelcome) << "the old ones stay";
}

TEST_F(Gate, AttemptsGoOnWhileItIsReadAgain) {
  const auto gate = Open();
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&gate, peer = std::to_string(i)] {
      for (int n = 0; n < 200; ++n) EXPECT_EQ(gate->Try(peer, "user", "pass"), Verdict::kWelcome);
    });
  }
  for (int n = 0; n < 50; ++n) EXPECT_TRUE(gate->Reload().ok());
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace core
