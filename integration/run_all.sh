#!/usr/bin/env bash
# Products against real clients, real faults and stock memcached:  run_all.sh [BIN_DIR]
# Every part prints "N passed, N failed"; the last line adds them up. How long each took is listed before it.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${1:-build/release/bin}
# Debian's own interpreter: the one that Debian's client libraries are installed for.
python=/usr/bin/python3

parts=(
  "$python integration/transcripts_test.py $bin"
  "$python integration/config_test.py $bin"
  "$python integration/admin_test.py $bin"
  "$python integration/differential_test.py $bin"
  "$python integration/stampede_test.py $bin"
  "$python integration/binary_test.py $bin"
  "$python integration/binary_differential_test.py $bin"
  "$python integration/auth_test.py $bin"
  "$python integration/clients_test.py $bin"
  "$python integration/matrix_test.py $bin"
  "$python integration/faults_test.py $bin"
  "$python integration/resilience_test.py $bin"
  "$python integration/fault_matrix_test.py $bin"
  "$python integration/soak_test.py $bin"
  "$python integration/credentials_test.py $bin"
  "$python integration/tls_test.py $bin"
  "$python integration/segcache_test.py $bin"
  "$python integration/klog_test.py $bin"
  "$python integration/watch_test.py $bin"
  "$python integration/near_test.py $bin"
  "$python integration/overload_test.py $bin"
  "$python integration/routes_test.py $bin"
  "$python integration/reload_test.py $bin"
  "$python integration/handover_test.py $bin"
  "$python integration/load_test.py $bin"
  "$python integration/trace_test.py $bin"
  "$python integration/restart_test.py $bin"
  "integration/deploy_test.sh $bin"
)

passed=0
failed=0
log=$(mktemp)
failures=$(mktemp)
durations=$(mktemp)
trap 'rm -f "$log" "$failures" "$durations"' EXIT
for part in "${parts[@]}"; do
  echo "=== $part"
  began=$SECONDS
  $part 2>&1 | tee "$log"
  echo "$((SECONDS - began)) s  $part" >>"$durations"
  line=$(grep -aoE '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
  # What failed, and what was said of it, once more at the end: the way there is long.
  grep -a -A 25 '^FAIL' "$log" >>"$failures"
  if [ -z "$line" ]; then
    echo "=== $part said no result" | tee -a "$failures"
    failed=$((failed + 1))
    continue
  fi
  passed=$((passed + ${line%% passed*}))
  line=${line#*passed, }
  failed=$((failed + ${line%% failed*}))
done
sort -rn "$durations"
cat "$failures"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
