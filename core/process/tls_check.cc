// See tls_check.h.
#include "core/process/tls_check.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "core/net/tls_material.h"

namespace core {

absl::Status CheckTls(const std::vector<config::PlacedListener>& listeners,
                      const config::Places& places, std::vector<std::string>* warnings) {
  std::set<std::string> looked_at;  // Caches may share what [server] says.
  for (const config::PlacedListener& one : listeners) {
    const config::Tls& tls = one.listener.tls;
    if (!tls.enabled() || !looked_at.insert(one.tls_path).second) continue;
    TlsMaterial material;
    absl::string_view knob;
    const absl::Status status = LoadTls(tls, &material, &knob);
    const std::string path = absl::StrCat(one.tls_path, ".", knob);
    if (!status.ok()) return config::Complaint(places.Of(path), path, status.message());
    if (material.warning.empty()) continue;
    const std::string certificate = one.tls_path + ".tls_certificate_file";
    warnings->emplace_back(
        config::Complaint(places.Of(certificate), certificate, material.warning).message());
  }
  return absl::OkStatus();
}

}  // namespace core
