#!/bin/bash
# run_fuzzers.sh [RUNS [NAME...]]: RUNS executions (default 1,000,000) of each fuzz target, or of those that are named
# (codec, ...). With clang-14 by libFuzzer under asan; else by seeded mutations of the corpus, under asan and ubsan.
#
# An input that breaks something is left in the current folder, and fails the script. Made small, it belongs into
# tests/fuzz/corpus/NAME/, so that the tests repeat it.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/../.."
runs=${1:-1000000}
names=("${@:2}")
if [ ${#names[@]} = 0 ]; then
  for folder in tests/fuzz/corpus/*/; do names+=("$(basename "$folder")"); done
fi
config=fuzz
command -v clang-14 >/dev/null || config=asan-ubsan

for name in "${names[@]}"; do
  # What libFuzzer finds on the way goes to a folder that is dropped: the corpus here stays small and readable.
  found=$(mktemp -d)
  corpus=("$PWD/tests/fuzz/corpus/$name")
  [ $config = fuzz ] && corpus=("$found" "${corpus[@]}" -max_len=4096 -print_final_stats=1 -verbosity=0)
  echo "== $name: $runs executions ($config)"
  bazel run --noshow_progress --ui_event_filters=-info --config=$config "//tests/fuzz:${name}_fuzz" -- \
    "-runs=$runs" "-artifact_prefix=$here/" "${corpus[@]}"
  rm -rf "$found"
done
