#!/bin/sh
# One fuzz target for some seconds; prints one line. Exit 1 when an input was found that crashes, hangs or asks for too
# much memory; it is left beside the program.
#   tests/fuzz/run.sh TARGET FOLDER SECONDS
set -u
target=$1 build=$2 seconds=$3
here=tests/fuzz
log=$build/$target.log
mkdir -p "$build/corpus/$target"

# 4096 bytes reach everything; the largest picture they may announce (a PNG of 1 bit) takes 100 MB.
OMP_NUM_THREADS=1 "$build/fuzz_$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix="$build/$target-" -dict="$here/dict/$target.dict" \
    "$build/corpus/$target" "$here/corpus/$target" >"$log" 2>&1
status=$?

runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
edges=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
found=$(sed -n 's/.*Test unit written to \(.*\)/\1/p' "$log" | tr '\n' ' ')
if [ "$status" = 0 ] && [ -z "$found" ]; then
    printf '%-12s %9s executions  %4s edges  nothing found\n' "$target" "${runs:-?}" "${edges:-?}"
else
    printf '%-12s %9s executions  %4s edges  FOUND (see %s); repeat with  %s\n' "$target" "${runs:-?}" "${edges:-?}" \
        "$log" "$build/fuzz_$target $found"
    exit 1
fi
