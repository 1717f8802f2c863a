// load_gen: memcached's text protocol under load, closed loop or open, every command. See
// tools/README.md for examples and tools/load/ for the parts.
//
// Exits 0 if every reply was as it should be, 1 if not, else as core/process/exit_code.h has it.
#include <unistd.h>

#include <cstdio>

#include "core/process/exit_code.h"
#include "tools/load/run.h"

namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "load_gen: %s\n", std::string(status.message()).c_str());
  return core::ExitCode(status);
}

}  // namespace

int main(int argc, char** argv) {
  absl::StatusOr<tools::load::CommandLine> line = tools::load::ParseFlags(argc, argv);
  if (!line.ok()) return Fail(line.status());
  if (!line->help.empty()) {
    std::fputs(line->help.c_str(), stdout);
    return 0;
  }
  tools::load::Options& options = line->options;
  options.progress = options.progress || ::isatty(STDERR_FILENO) != 0;
  const absl::StatusOr<tools::load::Report> report = tools::load::Run(options);
  if (!report.ok()) return Fail(report.status());
  const std::string text = options.json ? tools::load::Json(options, *report)
                                        : tools::load::Text(options, *report);
  std::fputs(text.c_str(), stdout);
  return report->totals.Faults() == 0 ? 0 : 1;
}
