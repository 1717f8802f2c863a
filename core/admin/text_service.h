// What the admin port's commands mean: stats, version, help, and those the product adds.
#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/admin/admin.h"
#include "core/admin/text_codec.h"
#include "core/net/reply.h"

namespace core {

// Every metric as "STAT name value" lines and "END". The name of a labelled metric is
// "name:label=value,label=value" with bytes that would break the line as '_'. A histogram becomes
// name_count, name_sum, name_p50 and name_p99 (upper bounds of the buckets, seconds, "inf" past the
// last). With `prefix`, only metrics whose name begins with it.
std::string StatsText(const Registry& registry, absl::string_view prefix);

// Runs on the admin loop's thread.
class AdminTextService {
 public:
  struct Connection {};

  // `hooks` outlives the service.
  explicit AdminTextService(const AdminHooks* hooks) : hooks_(*hooks) {}

  Connection Connect() { return {}; }
  void Execute(Connection&, const AdminTextCodec::Request& req, Reply<std::string> reply) {
    std::move(reply).Send(Answer(req.line));
  }
  void EndTurn() {}

 private:
  std::string Answer(absl::string_view line) const;
  std::string Help() const;

  const AdminHooks& hooks_;
};

}  // namespace core
