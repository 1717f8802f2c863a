#!/usr/bin/env bash
# Lays out the file system of the container image:  image_root.sh BIN_DIR ROOT PRODUCT...
#
# ROOT gets the products and exactly what they need at run time: the shared libraries that ldd
# names (the loader is one of them), the trusted roots, OpenSSL's configuration and an unprivileged
# user. Nothing else, so there is no shell, no package manager and no directory a product writes to.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2s/^# //p' "$0" >&2; exit 64; }
bin=$1 root=$2
shift 2

install -d "$root/usr/bin" "$root/etc/ssl/certs" "$root/usr/lib/ssl"
install -d -m 1777 "$root/tmp"

for product in "$@"; do
  install -m 755 "$bin/$product" "$root/usr/bin/$product"
  # Line numbers go, function names stay: perf and backtraces still read well.
  strip --strip-debug "$root/usr/bin/$product"
done

# "libx.so.1 => /lib/.../libx.so.1 (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)"; the vdso has
# no path. A library that is "not found" must stop the build, not the first container.
for product in "$@"; do
  libraries=$(ldd "$bin/$product")
  if grep -F 'not found' <<<"$libraries" >&2; then exit 1; fi
  grep -oE '/[^ ]+\.so[^ ]*' <<<"$libraries"
done | sort -u | while read -r library; do
  install -D -m 755 "$library" "$root$library"
done

# Two ways to the same roots: gRPC opens the bundle, OpenSSL the cert.pem of its own directory.
install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
ln -sfn /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
if [ -f /etc/ssl/openssl.cnf ]; then
  install -m 644 /etc/ssl/openssl.cnf "$root/etc/ssl/openssl.cnf"
  ln -sfn /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
fi

# 65532 is what distroless images call nonroot. The names serve tools that print them; the
# process itself is started by number.
echo 'nonroot:x:65532:65532:nonroot:/:/nonexistent' >"$root/etc/passwd"
echo 'nonroot:x:65532:' >"$root/etc/group"
# The C library's own two modules; it has them built in since 2.34.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
