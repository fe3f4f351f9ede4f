#!/bin/bash
# Fuzz one target until it has used so many minutes of CPU time (user and system), however busy the machine is.
# usage: fuzz/run.sh TARGET [CPU_MINUTES]      one line for each run goes to fuzz/target/log/runs.txt
# FUZZ_BINARY and FUZZ_COMMIT: a binary that was built before, and of which commit.
set -eu
cd "$(dirname "$0")"
target=${1:?"usage: fuzz/run.sh TARGET [CPU_MINUTES]"}
wanted=$((${2:-30} * 60))
slice=120
finds_max=20

[ -x "${FUZZ_BINARY:-}" ] || cargo fuzz build -s none "$target"
binary=${FUZZ_BINARY:-target/$(rustc -vV | sed -n 's/host: //p')/release/$target}
work=target/run/$target
log=target/log/$target.log
mkdir -p "$work" "artifacts/$target" target/log "corpus/$target" "cases/$target"
# The binary is copied: a build under way must not change it.
copy=$(mktemp "target/log/$target.XXXXXX")
trap 'rm -f "$copy"' EXIT
cp "$binary" "$copy"
chmod +x "$copy"

TIMEFORMAT='%U %S'
cpu=0 runs=0 cover=0 finds=0
while [ "$cpu" -lt "$wanted" ] && [ "$finds" -lt "$finds_max" ]; do
    code=0
    { time nice -n 15 "$copy" "$work" "corpus/$target" "cases/$target" -artifact_prefix="artifacts/$target/" \
        -max_len=8192 -rss_limit_mb=512 -timeout=10 -max_total_time=$slice -print_final_stats=1 \
        >"$log" 2>&1 || code=$?; } 2>"$log.time"
    cpu=$((cpu + $(awk '{ printf "%d", $1 + $2 }' "$log.time")))
    runs=$((runs + $(awk '$1 == "stat::number_of_executed_units:" { n = $2 } END { print n + 0 }' "$log")))
    cover=$(awk '{ for (i = 1; i < NF; i++) if ($i == "cov:") n = $(i + 1) } END { print n + 0 }' "$log")
    [ "$code" = 0 ] || { finds=$((finds + 1)); cp "$log" "artifacts/$target/log.$finds"; }
done
printf '%s %s %s: %d s of CPU time, %d runs, %d edges, %d finds\n' "$(date -u +%FT%TZ)" "$target" \
    "${FUZZ_COMMIT:-$(git rev-parse --short HEAD)}" "$cpu" "$runs" "$cover" "$finds" | tee -a target/log/runs.txt
