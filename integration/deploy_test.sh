#!/usr/bin/env bash
# Checks deploy/ without a cluster, a container engine or a running systemd:
#
#   deploy_test.sh [BIN_DIR]
#
# Without BIN_DIR what needs our binaries is left out, and said so. The last line is
# "N passed, N failed".
# Debian's own interpreter: the one that has Debian's yaml.
exec /usr/bin/python3 "$(dirname "$0")/deploy_test.py" "$@"
