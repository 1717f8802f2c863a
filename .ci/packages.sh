#!/usr/bin/env bash
# Installs the Debian 12 packages that are missing: `packages.sh build` for what a build needs,
# `packages.sh test` for that and what the tests run. Says nothing when nothing is missing.
set -euo pipefail

build=(
  ca-certificates cmake g++ ninja-build pkg-config
  libabsl-dev libcli11-dev libcpp-httplib-dev libgmock-dev libgrpc++-dev
  libgtest-dev libnghttp2-dev libprotobuf-dev libspdlog-dev libssl-dev libtoml11-dev
  liburing-dev libxxhash-dev libzstd-dev nlohmann-json3-dev prometheus-cpp-dev
  protobuf-compiler protobuf-compiler-grpc python3
)
test=(
  clang faketime libcache-memcached-fast-perl libclang-rt-14-dev libmemcached-dev libmemcached-tools libnss-wrapper
  libsasl2-modules libspymemcached-java lld memcached openssl php-cli php-memcached python3-h2 python3-memcache
  python3-pylibmc python3-pymemcache python3-yaml ruby ruby-dalli spin systemd
)

want=("${build[@]}")
[ "${1:-build}" = test ] && want+=("${test[@]}")
# The npm clients run on any Node.js from 18 on; Debian's is taken only where there is none.
if [ "${1:-build}" = test ] && ! { command -v node && command -v npm; } >/dev/null; then
  want+=(nodejs npm)
fi
# Likewise any JDK from 11 on.
if [ "${1:-build}" = test ] && ! command -v javac >/dev/null; then
  want+=(default-jdk-headless)
fi
# Likewise any kubectl will do; other vendors' packages own the same path and would clash.
if [ "${1:-build}" = test ] && ! command -v kubectl >/dev/null; then
  want+=(kubernetes-client)
fi

missing=()
for package in "${want[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
