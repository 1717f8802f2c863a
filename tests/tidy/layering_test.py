#!/usr/bin/env python3
"""Holds the arrows between rooms: an include goes left, never right.

Reads every #include "room/..." of the shipped sources and compares it with the table below; also
keeps heavy headers (gRPC, protobuf, nghttp2, liburing, toml11, httplib) in the few files that may see them.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# room -> what its files may include; the longest matching prefix decides.
MAY_INCLUDE = {
    "config": {"config"},
    "core/base": {"core/base"},
    "core": {"core", "config"},
    "proto": {"proto", "core"},
    "proto/memcache": {"proto/memcache", "core"},
    "cache": {"cache", "proto", "core", "config"},
    "cache/seg": {"cache/seg", "core/base", "core/metrics", "config"},
    "proxy": {"proxy", "cache", "proto", "core", "config"},
    # Within: front -> service -> translate, momento.
    "proxy/translate": {"proxy/translate", "proxy/momento/client.h", "proto/memcache", "core",
                        "config"},
    "proxy/momento": {"proxy/momento", "proto/momento", "core", "config"},
    "proxy/service": {"proxy/service", "proxy/translate", "proxy/momento", "cache/seg", "proto",
                      "core", "config"},
    "tools": {"tools", "proxy", "cache", "proto", "core", "config"},
}
# header pattern -> the places that may include it.
ONLY_IN = {
    r"(grpcpp|grpc)/.*|.*\.grpc\.pb\.h": r"cache/local/.*\.cc|tools/.*\.cc",
    r"google/protobuf/.*|.*\.pb\.h": r"(cache/local|tools)/.*\.cc",
    r"nghttp2/.*": r"proxy/momento/.*\.cc",
    r"liburing\.h": r"core/net/ring\.cc",
    r"toml\.hpp": r"config/loader\.cc",
    r"httplib\.h": r"core/admin/.*\.cc",
    r"CLI/.*": r"(core/process|tools)/.*\.cc",
    r"spdlog/.*": r"core/log/.*",
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.M)


def room_of(path):
    return max((r for r in MAY_INCLUDE if path == r or path.startswith(r + "/")),
               key=len, default=None)


def faults(path, text):
    room = room_of(path)
    for included in INCLUDE.findall(text):
        if "/" in included and included.split("/")[0] in {r.split("/")[0] for r in MAY_INCLUDE}:
            is_generated = included.endswith(".pb.h")
            if not is_generated and not any(
                    included == a or included.startswith(a + "/") for a in MAY_INCLUDE[room]):
                yield f"{path}: {room} may not include {included}"
        for pattern, places in ONLY_IN.items():
            if re.fullmatch(pattern, included) and not re.fullmatch(places, path):
                yield f"{path}: {included} is only for {places}"


def self_check():
    assert list(faults("core/net/x.h", '#include "proxy/service.h"\n'))
    assert list(faults("cache/seg/x.cc", '#include "core/net/session.h"\n'))
    assert list(faults("core/net/x.h", "#include <grpcpp/grpcpp.h>\n"))
    assert list(faults("proxy/service/x.cc", '#include "proxy/front/fronts.h"\n'))
    assert not list(faults("proxy/x.h", '#include "cache/seg/cache.h"\n'))


def main():
    self_check()
    found, read = [], 0
    # Only the rooms: nothing of a build or of a hidden folder is shipped source.
    paths = (p for room in {r.split("/")[0] for r in MAY_INCLUDE} for p in (ROOT / room).rglob("*"))
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix not in {".h", ".cc"}:
            continue
        read += 1
        found += faults(name, path.read_text())
    print("\n".join(found) or f"{read} files keep the arrows")
    return 1 if found or read == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
