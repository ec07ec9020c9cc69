#!/bin/bash
# run.sh [BAZEL ARGUMENTS AND TARGETS]: installs what is missing, builds, and runs every test that needs no GPU.
#
#   tests/run.sh                                     all tests (opt; those on real processes, "cluster", last), then
#                                                    those tagged "sanitize" under asan with ubsan, those tagged
#                                                    "threads" under tsan, then clang's lock check where clang is
#   tests/run.sh --config=asan //tests/kernels/...   only these, like this (options that take a value: --name=value)
#
# Tests tagged "manual" or "gpu" are left out. The last line is `N passed, N failed`, in test cases; a crash or a target
# that does not build is one failed. Exits non-zero if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.."
./deploy/install_deps.sh || exit

events=$(mktemp -d)
trap 'rm -rf "$events"' EXIT
quiet=()
[ -t 2 ] || quiet=(--noshow_progress)
runs=()

# stage NAME COMMAND...: one run of bazel, with its time; a run in which a test fails does not stop the others.
stage() {
  local name=$1 start=$SECONDS status
  shift
  echo "== $name: ${*:1:2} ..."
  local file=$events/${#runs[@]}.json
  "$1" "$2" "${quiet[@]}" --keep_going --build_event_json_file="$file" "${@:3}"
  status=$?
  runs+=("$status=$file")
  echo "== $name: $((SECONDS - start)) s"
  # Interrupted (8): the person who pressed Ctrl-C does not want the next stage.
  [ $status = 8 ] && exit 8
}

if [ $# -gt 0 ]; then
  config=(--config=opt) targets=(-- //...)
  for arg in "$@"; do
    case $arg in
      --config=* | -c | --compilation_mode=*) config=() ;;
      -- | //* | :* | @*) targets=() ;;
    esac
  done
  stage tests bazel test --test_tag_filters=-manual,-gpu --build_tests_only "${config[@]}" "$@" "${targets[@]}"
else
  stage tests bazel test --config=opt --test_tag_filters=-manual,-gpu,-cluster --build_tests_only //...
  # Real processes mostly wait: for time-outs, leases, each other.
  at_once=$((3 * $(nproc) < 24 ? 3 * $(nproc) : 24))
  stage clusters bazel test --config=opt --test_tag_filters=cluster,-manual,-gpu --build_tests_only \
    --jobs=$at_once --local_cpu_resources=$at_once //...
  if [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
    stage cuda bazel build --config=opt //kernels/cuda:libleeway_cuda.so //tests/gpu:benchmark
  else
    echo "== cuda: skipped, no nvcc: the CUDA backend is not compiled"
  fi
  stage asan-ubsan bazel test --config=asan-ubsan --test_tag_filters=sanitize,-manual,-gpu --build_tests_only //...
  stage tsan bazel test --config=tsan --test_tag_filters=threads,-manual,-gpu --build_tests_only //...
  if command -v clang-14 >/dev/null; then
    # Whoever has a lock depends on it directly; no other code has anything to check.
    ours=$(echo //{common,kernels,server,worker,cli}/...)
    locked=$(bazel query --noshow_progress \
      "kind(cc_library, rdeps(set($ours), //common:mutex, 1)) except //kernels/cuda/...")
    # Their own object files: else Bazel compiles, for the check, all that they depend on as well.
    # shellcheck disable=SC2086
    stage thread-safety bazel build --config=thread-safety --output_groups=compilation_outputs ${locked:-//...}
  else
    echo "== thread-safety: skipped, no clang-14 (deploy/install_deps.sh --dev installs it)"
  fi
fi
echo "== total: $SECONDS s"
python3 tests/count_results.py "${runs[@]}"
