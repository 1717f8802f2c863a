// Signals and drains, in a forked child that lives a daemon's life and reports through a pipe.

#include "core/process/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/process/exit_code.h"

namespace core {
namespace {

using testing::HasSubstr;

constexpr int kCreateFailed = 99;

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    read_end = Fd(fds[0]);
    write_end = Fd(fds[1]);
  }
  Fd read_end;
  Fd write_end;
};

// The child's side of the conversation.
struct Daemon {
  Process* process;
  int report_fd;
  int release_fd;

  void Say(absl::string_view line) const { dprintf(report_fd, "%s\n", std::string(line).c_str()); }
  // Drained once the parent has let it.
  Drainable WhenReleased() const {
    return {.begin_drain = [this] { Say("drain"); },
            .drained =
                [this] {
                  pollfd ready{release_fd, POLLIN, 0};
                  return poll(&ready, 1, 0) > 0;
                },
            .on_reload = [this] { Say("reload"); }};
  }
};

class ProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    log_ = absl::StrCat("/tmp/core_process_test_", getpid(), ".log");
    options_.product = "thing";
    options_.version = "1.2.3";
    options_.log.file = log_;
    options_.admin.port = 0;
    options_.admin.http_port = 0;
    options_.drain_timeout = absl::Hours(1);
  }
  void TearDown() override {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    unlink(log_.c_str());
    unlink((log_ + ".1").c_str());
  }

  // Starts a child that runs `life`; what it returns is the exit code.
  void Run(const std::function<int(const Daemon&)>& life) {
    child_ = fork();
    ASSERT_GE(child_, 0);
    if (child_ > 0) {
      report_.write_end.Close();
      return;
    }
    int code = kCreateFailed;
    {
      auto process = Process::Create(options_);
      if (process.ok()) {
        code = life({process->get(), report_.write_end.get(), release_.read_end.get()});
      }
    }
    _exit(code);
  }

  // The usual life: serves the admin ports, says "ready" and the HTTP port, serves until a signal.
  void RunServing() {
    Run([](const Daemon& daemon) {
      if (!daemon.process->StartAdmin({}).ok()) return kCreateFailed;
      daemon.process->Ready();
      daemon.Say(absl::StrCat(daemon.process->admin()->http_port()));
      return daemon.process->ServeUntilSignal(daemon.WhenReleased());
    });
    uint32_t port = 0;
    ASSERT_TRUE(absl::SimpleAtoi(Hear(), &port));
    http_port_ = static_cast<uint16_t>(port);
  }

  // The child's next line; empty when it ended or said nothing for ten seconds.
  std::string Hear() {
    std::string line;
    for (;;) {
      pollfd ready{report_.read_end.get(), POLLIN, 0};
      char c;
      if (poll(&ready, 1, 10'000) <= 0 || read(report_.read_end.get(), &c, 1) != 1) return "";
      if (c == '\n') return line;
      line.push_back(c);
    }
  }

  void Signal(int signal) { ASSERT_EQ(kill(child_, signal), 0); }
  void Release() { ASSERT_EQ(write(release_.write_end.get(), "x", 1), 1); }

  // The exit code, or -signal.
  int Wait() {
    int status = 0;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string Get(absl::string_view path) const {
    const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(http_port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return "";
    const std::string request = absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    std::string answer;
    char buffer[4096];
    for (ssize_t n; (n = recv(fd.get(), buffer, sizeof(buffer), 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
    return answer;
  }

  static std::string Read(const std::string& path) {
    std::ifstream in(path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  std::string log_;
  ProcessOptions options_;
  Pipe report_;
  Pipe release_;
  pid_t child_ = -1;
  uint16_t http_port_ = 0;
};

TEST_F(ProcessTest, DrainsOnSigtermAndExitsZero) {
  RunServing();
  EXPECT_THAT(Get("/readyz"), HasSubstr(" 200 OK"));
  EXPECT_THAT(Get("/metrics"), HasSubstr("build_info{product=\"thing\",version=\"1.2.3\"} 1\n"));
  Signal(SIGTERM);
  EXPECT_EQ(Hear(), "drain");
  EXPECT_THAT(Get("/readyz"), HasSubstr("\r\n\r\ndraining\n"));  // Still answers.
  EXPECT_THAT(Get("/healthz"), HasSubstr(" 200 OK"));
  Release();
  EXPECT_EQ(Wait(), 0);
  EXPECT_EQ(Get("/healthz"), "");
  EXPECT_THAT(Read(log_), HasSubstr("drained\n"));
  EXPECT_THAT(Read(log_), HasSubstr("thing stops\n"));
}

TEST_F(ProcessTest, ServesOnForTheDelayBeforeItDrains) {
  options_.drain_delay = absl::Milliseconds(300);
  RunServing();
  Signal(SIGTERM);
  while (!absl::StrContains(Get("/readyz"), "\r\n\r\ndraining\n")) usleep(1000);
  EXPECT_FALSE(absl::StrContains(Read(log_), "draining for"));  // It has not begun.
  Signal(SIGHUP);
  EXPECT_EQ(Hear(), "reload");
  EXPECT_EQ(Hear(), "drain");  // By itself, in a while.
  Release();
  EXPECT_EQ(Wait(), 0);
  EXPECT_THAT(Read(log_), HasSubstr("not ready any more, serving on for 300ms\n"));
  EXPECT_THAT(Read(log_), HasSubstr("drained\n"));
}

TEST_F(ProcessTest, TheSecondSignalEndsTheDelayToo) {
  options_.drain_delay = absl::Hours(1);
  RunServing();
  Signal(SIGTERM);
  while (!absl::StrContains(Get("/readyz"), "\r\n\r\ndraining\n")) usleep(1000);
  Signal(SIGTERM);
  EXPECT_EQ(Wait(), 0);
  EXPECT_EQ(Hear(), "");  // It did not drain.
  EXPECT_THAT(Read(log_), HasSubstr("told again to stop"));
}

TEST_F(ProcessTest, TheDelayCanBeTakenBack) {
  options_.drain_delay = absl::Hours(1);
  Run([log = options_.log](const Daemon& daemon) {
    Drainable drainable = daemon.WhenReleased();
    drainable.on_reload = [&daemon, &log] {
      (void)daemon.process->Change(log, absl::ZeroDuration(), absl::Hours(1));
    };
    daemon.process->Ready();
    daemon.Say("serving");
    return daemon.process->ServeUntilSignal(drainable);
  });
  EXPECT_EQ(Hear(), "serving");
  Signal(SIGTERM);
  while (!absl::StrContains(Read(log_), "serving on for 1h")) usleep(1000);
  Signal(SIGHUP);
  EXPECT_EQ(Hear(), "drain");
  Release();
  EXPECT_EQ(Wait(), 0);
}

TEST_F(ProcessTest, TheSecondSignalStopsAtOnce) {
  for (const int second : {SIGTERM, SIGINT}) {
    RunServing();
    Signal(SIGINT);
    EXPECT_EQ(Hear(), "drain");
    Signal(second);
    EXPECT_EQ(Wait(), 0);
    EXPECT_THAT(Read(log_), HasSubstr("told again to stop"));
    report_ = Pipe();
  }
}

TEST_F(ProcessTest, Sigusr1AndSigusr2DrainLikeMemcached) {
  for (const int signal : {SIGUSR1, SIGUSR2}) {
    RunServing();
    Signal(signal);
    EXPECT_EQ(Hear(), "drain");
    Release();
    EXPECT_EQ(Wait(), 0);
    report_ = Pipe();
  }
}

TEST_F(ProcessTest, DrainEndsAfterItsTimeout) {
  options_.drain_timeout = absl::Milliseconds(50);
  RunServing();
  Signal(SIGTERM);
  EXPECT_EQ(Hear(), "drain");
  EXPECT_EQ(Wait(), 0);  // Never released.
  EXPECT_THAT(Read(log_), HasSubstr("drain_timeout passed"));
}

TEST_F(ProcessTest, SighupReopensTheLogAndGoesOn) {
  RunServing();
  // The log has a thread of its own, which may be late on a busy machine.
  while (!absl::StrContains(Read(log_), "starts")) usleep(1000);
  ASSERT_EQ(rename(log_.c_str(), (log_ + ".1").c_str()), 0);
  Signal(SIGHUP);
  EXPECT_EQ(Hear(), "reload");
  EXPECT_THAT(Get("/readyz"), HasSubstr(" 200 OK"));
  Signal(SIGTERM);
  EXPECT_EQ(Hear(), "drain");
  Signal(SIGHUP);  // Also while draining.
  EXPECT_EQ(Hear(), "reload");
  Release();
  EXPECT_EQ(Wait(), 0);
  EXPECT_THAT(Read(log_ + ".1"), HasSubstr("thing 1.2.3 starts"));
  EXPECT_THAT(Read(log_), HasSubstr("log reopened"));
  EXPECT_FALSE(absl::StrContains(Read(log_), "starts"));
}

TEST_F(ProcessTest, ASignalDuringTheStartIsNotLost) {
  Run([](const Daemon& daemon) {
    raise(SIGTERM);  // Nobody waits for it yet.
    daemon.Say("alive");
    return daemon.process->ServeUntilSignal(daemon.WhenReleased());
  });
  EXPECT_EQ(Hear(), "alive");
  EXPECT_EQ(Hear(), "drain");
  Release();
  EXPECT_EQ(Wait(), 0);
}

TEST_F(ProcessTest, RequestStopFromAnyThreadIsASignal) {
  Run([](const Daemon& daemon) {
    std::thread thread([&] {
      daemon.process->RequestStop();
      daemon.process->RequestStop();  // Twice: never released, yet ends.
    });
    const int code = daemon.process->ServeUntilSignal(daemon.WhenReleased());
    thread.join();
    return code;
  });
  EXPECT_EQ(Hear(), "drain");
  EXPECT_EQ(Wait(), 0);
}

TEST_F(ProcessTest, ADeadPipeDoesNotKill) {
  Run([](const Daemon& daemon) {
    int fds[2];
    if (pipe(fds) != 0) return 1;
    close(fds[0]);
    return write(fds[1], "x", 1) == -1 && errno == EPIPE ? 7 : 8;
  });
  EXPECT_EQ(Wait(), 7);
}

TEST_F(ProcessTest, IsNotReadyBeforeItSaysSo) {
  Run([](const Daemon& daemon) {
    if (!daemon.process->StartAdmin({}).ok()) return kCreateFailed;
    daemon.Say(absl::StrCat(daemon.process->admin()->http_port()));
    const Drainable drainable = daemon.WhenReleased();
    while (!drainable.drained()) usleep(1000);
    return 0;  // The destructor stops the admin ports.
  });
  uint32_t port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(Hear(), &port));
  http_port_ = static_cast<uint16_t>(port);
  EXPECT_THAT(Get("/readyz"), HasSubstr(" 503 "));
  EXPECT_THAT(Get("/readyz"), HasSubstr("\r\n\r\nstarting\n"));
  EXPECT_THAT(Get("/healthz"), HasSubstr(" 200 OK"));
  Release();
  EXPECT_EQ(Wait(), 0);
}

TEST_F(ProcessTest, TheProductHasItsSayInReadiness) {
  Run([](const Daemon& daemon) {
    AdminHooks hooks;
    hooks.ready = [] { return absl::UnavailableError("no backend"); };
    if (!daemon.process->StartAdmin(std::move(hooks)).ok()) return kCreateFailed;
    daemon.process->Ready();
    daemon.Say(absl::StrCat(daemon.process->admin()->http_port()));
    return daemon.process->ServeUntilSignal(daemon.WhenReleased());
  });
  uint32_t port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(Hear(), &port));
  http_port_ = static_cast<uint16_t>(port);
  EXPECT_THAT(Get("/readyz"), HasSubstr("\r\n\r\nno backend\n"));
  Release();
  Signal(SIGTERM);
  EXPECT_EQ(Wait(), 0);
}

TEST_F(ProcessTest, APortThatIsTakenIsAnErrorWithACode) {
  RunServing();
  options_.admin.http_port = http_port_;
  const pid_t first = std::exchange(child_, -1);
  Pipe first_report = std::exchange(report_, Pipe());
  Run([](const Daemon& daemon) {
    const absl::Status status = daemon.process->StartAdmin({});
    daemon.Say(status.message());
    return ExitCode(status);
  });
  EXPECT_THAT(Hear(), testing::ContainsRegex("admin.http_port: .*Address already in use"));
  EXPECT_EQ(Wait(), 69);
  child_ = first;
}

TEST_F(ProcessTest, ABadLogFileIsAnErrorAndLeavesSignalsAlone) {
  options_.log.file = "/no/such/dir/log";
  const auto process = Process::Create(options_);
  ASSERT_FALSE(process.ok());
  EXPECT_EQ(ExitCode(process.status()), 66);
  sigset_t blocked;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &blocked), 0);
  EXPECT_EQ(sigismember(&blocked, SIGTERM), 0);
  struct sigaction pipe_action;
  ASSERT_EQ(sigaction(SIGPIPE, nullptr, &pipe_action), 0);
  EXPECT_EQ(pipe_action.sa_handler, SIG_DFL);
}

TEST_F(ProcessTest, ThePidFileNamesItWhileItRuns) {
  options_.pid_file = absl::StrCat("/tmp/core_process_test_", getpid(), ".pid");
  std::ofstream(options_.pid_file) << "what a dead one left";
  RunServing();
  EXPECT_EQ(Read(options_.pid_file), absl::StrCat(child_, "\n"));
  Release();
  Signal(SIGTERM);
  EXPECT_EQ(Wait(), 0);
  EXPECT_NE(access(options_.pid_file.c_str(), F_OK), 0);
}

TEST_F(ProcessTest, APidFileThatCannotBeWrittenIsAnError) {
  options_.pid_file = "/no/such/dir/pid";
  const auto process = Process::Create(options_);
  ASSERT_FALSE(process.ok());
  EXPECT_EQ(ExitCode(process.status()), 78);
  EXPECT_EQ(process.status().message(),
            "server.pid_file: cannot write /no/such/dir/pid: No such file or directory");
}

TEST_F(ProcessTest, BecomesTheUserIfItIsRoots) {
  options_.user = "nobody";
  const uid_t before = getuid();
  Run([](const Daemon& daemon) {
    daemon.Say(absl::StrCat(getuid(), " ", geteuid(), " ", setuid(0) == 0 ? "back" : "for good"));
    return 0;
  });
  // Who is not root stays who it is, as with memcached.
  EXPECT_EQ(Hear(), before == 0 ? "65534 65534 for good"
                                : absl::StrCat(before, " ", before, " for good"));
  EXPECT_EQ(Wait(), 0);
}

TEST_F(ProcessTest, AUserThatIsNoneIsAnError) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may become somebody else";
  options_.user = "nobody-of-that-name";
  const auto process = Process::Create(options_);
  ASSERT_FALSE(process.ok());
  EXPECT_EQ(ExitCode(process.status()), 78);
  EXPECT_EQ(process.status().message(),
            "server.user: there is no user \"nobody-of-that-name\"");
}

TEST_F(ProcessTest, WarnsWhenOpenFilesDoNotSuffice) {
  options_.connections_max = 1000;  // And 1024 for the rest.
  Run([](const Daemon&) { return 0; });
  EXPECT_EQ(Wait(), 0);
  EXPECT_FALSE(absl::StrContains(Read(log_), "open files"));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit tight{.rlim_cur = 1500, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  options_.connections_max = 1u << 30;  // No hard limit is that high.
  Run([](const Daemon&) { return 0; });
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(Wait(), 0);
  EXPECT_THAT(Read(log_), HasSubstr("open files are limited to "));
}

TEST_F(ProcessTest, RaisesTheLimitOnOpenFilesAsFarAsItMay) {
  Run([](const Daemon&) {
    const rlimit tight{.rlim_cur = 64, .rlim_max = 128};
    if (setrlimit(RLIMIT_NOFILE, &tight) != 0) return 1;
    if (RaiseOpenFilesLimit(50) != 64) return 2;
    if (RaiseOpenFilesLimit(100) != 100) return 3;
    if (RaiseOpenFilesLimit(1000) != 128) return 4;
    return 0;
  });
  EXPECT_EQ(Wait(), 0);
}

}  // namespace
}  // namespace core
