#!/bin/bash
# After a run: keep the seeds and what together reaches all that was reached, at most 120 inputs, in fuzz/corpus/TARGET.
# usage: fuzz/keep.sh TARGET      FUZZ_BINARY: a binary that was built before
set -eu
cd "$(dirname "$0")"
target=${1:?"usage: fuzz/keep.sh TARGET"}
[ -x "${FUZZ_BINARY:-}" ] || cargo fuzz build -s none "$target"
binary=${FUZZ_BINARY:-target/$(rustc -vV | sed -n 's/host: //p')/release/$target}
mkdir -p target/run/"$target" target/log
[ -d "target/seeds/$target" ] || cargo run --quiet --example seeds -- target/seeds
scratch=$(mktemp -d target/log/merge.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/out"
# Edges only, without how often: what that adds is a long tail of inputs that look alike.
nice -n 15 "$binary" -set_cover_merge=1 -use_counters=0 -rss_limit_mb=512 -merge_control_file="$scratch/control" \
    "$scratch/out" "target/seeds/$target" "corpus/$target" "target/run/$target" 2>&1 | tail -n 1
cargo run --quiet --example seeds -- keep "$scratch/control" "corpus/$target"
