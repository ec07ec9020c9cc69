#!/bin/bash
# check.sh [OUT]: inside an unpacked bundle, tries everything that a GPU is needed for, in under 8 minutes: parity of
# every op, compute-sanitizer on some of them, benchmarks, training with one `ps` and one, then four workers on one GPU.
# Each step has a limit of its own and what is left of CHECK_SECONDS (470) for all of them, its log lies in OUT
# (./results), and one table comes last. Exits with 1 if a step failed or had no time left, with 2 and one line if no
# step can run. CHECK_ONLY="parity tests" runs only the steps of these names, CHECK_SKIP="compile topk" all but these.
set -uo pipefail
refuse() {
  echo "check.sh: $1" >&2
  exit 2
}
usage="usage: $0 [OUT]; CHECK_SECONDS, CHECK_ONLY and CHECK_SKIP may be in the environment"
case ${1:-} in
  -h | --help) echo "$usage" && exit 0 ;;
  -*) refuse "$1 ($usage)" ;;
esac
[ $# -le 1 ] || refuse "$# arguments ($usage)"
out=$(realpath -m "${1:-results}")
self=$(readlink -f "$0")
cd "$(dirname "$self")" || exit

end=${CHECK_SECONDS:-470}
[[ $end =~ ^[1-9][0-9]{0,5}$ ]] || refuse "CHECK_SECONDS=$end: a whole number of seconds from 1 to 999999 is allowed"
steps=$(sed -n 's/^step \([a-z0-9]*\) .*/\1/p' "$self" | tr '\n' ' ')
for name in ${CHECK_ONLY:-} ${CHECK_SKIP:-}; do
  case " $steps" in *" $name "*) ;; *) refuse "there is no step $name; there are $steps" ;; esac
done
chosen=' '
for name in ${CHECK_ONLY:-$steps}; do
  case " ${CHECK_SKIP:-} " in *" $name "*) ;; *) chosen+="$name " ;; esac
done
[ "$chosen" != ' ' ] || refuse "no step is left by CHECK_ONLY=${CHECK_ONLY:-} and CHECK_SKIP=${CHECK_SKIP:-}"

# What lies here goes when this script ends. mkdir and mktemp say why they cannot.
tmp=$(mkdir -p "$out" && mktemp -d "$out/tmp.XXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
rows=()
failed=0

# within ARGUMENTS OF timeout: its status. INT and TERM end this shell at once, and what runs: being in a process group
# of its own, that would not hear of them. (`timeout` passes a signal on, but not while it starts: the second kill.)
within() {
  local status
  trap 'kill $!; wait $!; kill -- -$! 2>/dev/null; exit 130' INT
  trap 'kill $!; wait $!; kill -- -$! 2>/dev/null; exit 143' TERM
  timeout "$@" &
  wait $!
  status=$?
  trap - INT TERM
  return $status
}

# step NAME SECONDS COMMAND...: the last line of its log that begins with "result:" goes into the table. The command
# finds its seconds in $limit.
step() {
  local name=$1 start=$SECONDS status verdict result
  local -x limit=$2
  shift 2
  case $chosen in *" $name "*) ;; *) return ;; esac
  [ $((end - SECONDS)) -ge "$limit" ] || limit=$((end - SECONDS))
  if [ "$limit" -gt 0 ]; then
    within --kill-after=5 "$limit" "$@" >"$out/$name.log" 2>&1
    status=$?
    rm -rf "$tmp"/run.*
  else
    status=none
    echo "not run: the $end s for all steps were over" >"$out/$name.log"
  fi
  result=$(grep -a '^result:' "$out/$name.log" | tail -1 | cut -c9-)
  case $status in
    0) case $result in skipped,*) verdict=skipped ;; *) verdict=ok ;; esac ;;
    none) verdict="no time left" ;;
    124 | 137) verdict="over $limit s" ;;
    *) verdict="failed ($status)" ;;
  esac
  [ $status = 0 ] || failed=1
  rows+=("$(printf '%-12s %-12s %4d s  %s' "$name" "$verdict" $((SECONDS - start)) "${result#skipped, }")")
  # A failed step is shown at once: the log may not come back.
  [ $status = 0 ] || { echo "== $name: $verdict"; tail -n 25 "$out/$name.log" | cut -c1-300; }
}

machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || return
  uname -r
  grep -m1 'model name' /proc/cpuinfo
  echo "result: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1), $(nproc) cores"
}

# The tests of the CPU backend, on the GPU.
tests() {
  local test failures=0 count=0
  export LEEWAY_TEST_DEVICE=cuda:0
  for test in backend elementwise linear conv attention transformer_ops layers models gpt device_encoder engine \
    evaluator give_up trainer; do
    [ -e "bin/${test}_test" ] || continue
    echo "== $test"
    "bin/${test}_test" '~*on the cpu backend*' || failures=$((failures + 1))
    count=$((count + 1))
  done
  [ $count != 0 ] || { echo "result: skipped, no test program is in this bundle" && return; }
  echo "result: $failures of $count test programs failed"
  [ $failures = 0 ]
}

# sanitizer TOOL CASES FLAGS...: compute-sanitizer over the parity suite, with CASES for flags. The groups of cases run
# side by side, since most of the time is the host's, and end before this step does: some may have ended well.
sanitizer() {
  local program tool=$1 cases=$2 group status result='' bad=0
  local -A pids
  shift 2
  program=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)
  if [ -z "$program" ]; then
    echo "result: skipped, there is no compute-sanitizer"
    return 0
  fi
  for group in ops transformer attention vector; do
    # shellcheck disable=SC2086
    within --kill-after=2 $((limit > 5 ? limit - 5 : 1)) "$program" --tool "$tool" --error-exitcode 9 \
      --launch-timeout 60 "$@" bin/parity --device=cuda:0 --only="$group" $cases >"$out/$tool.$group.log" 2>&1 &
    pids[$group]=$!
  done
  for group in ops transformer attention vector; do
    wait "${pids[$group]}"
    status=$?
    # Its own words count: a tool that did not get to work says nothing.
    if [ $status = 0 ] && grep -q 'SUMMARY: 0 ' "$out/$tool.$group.log"; then
      result+="${result:+, }$group ok"
      continue
    fi
    case $status in 124 | 137) status='not ended' ;; *) status=failed ;; esac
    result+="${result:+, }$group $status"
    bad=1
    echo "== $group" && tail -n 20 "$out/$tool.$group.log"
  done
  # Of a machine (some virtual ones) on which it cannot work.
  if grep -qs 'Device not supported' "$out/$tool".*.log; then
    echo "result: skipped, compute-sanitizer says: Device not supported"
    return 0
  fi
  echo "result: $result"
  return $bad
}

# torch FLAGS...: the same model in PyTorch.
torch() {
  if ! python3 -c "import torch; assert torch.cuda.is_available()" 2>/dev/null; then
    echo "result: skipped, there is no PyTorch that can use the GPU"
    return 0
  fi
  python3 torch_gpt.py "$@"
}

# torch.compile is PyTorch's matter: what it cannot do here is a result, not a failure.
compile() {
  within --kill-after=2 $((limit > 5 ? limit - 5 : 1)) bash -c "torch --compile --may_fail"
  local status=$?
  [ $status = 124 ] || [ $status = 137 ] || return $status
  echo "result: torch.compile takes longer than $((limit - 5)) s"
}

# images: what there is to train on.
images() {
  if [ -e data/train-images-idx3-ubyte.gz ]; then echo data; else echo synthetic:60000; fi
}

# train DATA WORKERS FLAGS...: a run of `leeway`, and the numbers of its summary.
train() {
  local data=$1 workers=$2 folder
  shift 2
  [ -e bin/leeway ] || { echo "result: skipped, bin/leeway is not in this bundle" && return; }
  folder=$(mktemp -d "$tmp/run.XXXX")
  trap : TERM  # what `leeway` started ends before this does
  bin/leeway run --ps_binary=bin/ps --worker_binary=bin/worker --data="$data" --num_workers="$workers" --device=cuda:0 \
    --out="$folder" "$@"
  local status=$?
  cat "$folder"/*.log 2>/dev/null
  [ -e "$folder/summary.json" ] || return $((status > 0 ? status : 1))
  command -v python3 >/dev/null || { echo "result: no figures, there is no python3" && return $status; }
  python3 - "$folder/summary.json" <<'PYTHON' || status=1
import json, sys
run = json.load(open(sys.argv[1]))
names = ("final_accuracy", "training_loss", "samples_per_second", "seconds")
figures = [f"{name} {run[name]:.4g}" for name in names if run[name] is not None]
trainers = [worker for worker in run["workers"] if worker["role"] == "trainer"]
# Of one worker: with the first steps, which wait for what is set up, and without the first two seconds.
if steps := sum(worker["steps"] for worker in trainers) / len(trainers):
    figures.append(f"{steps:.0f} steps of {1e3 * run['seconds'] / steps:.1f} ms")
    later = [point for point in run["training"] if point["seconds"] >= 2]
    seconds, samples = (later[-1][key] - later[0][key] if later else 0 for key in ("seconds", "samples"))
    if seconds >= 2 and samples > 0:
        figures[-1] += f" ({1e3 * seconds / samples * run['samples'] / steps:.1f} without the first)"
exposed = [worker["communication_per_step"]["exposed_share"] for worker in trainers]
figures.append(f"exposed {[round(share or 0, 3) for share in exposed]}")
print("result:", ", ".join(figures))
PYTHON
  return $status
}

. ./env.sh
# Where there is no GPU, one line instead of one per step: a quick look at bin/parity's first group.
within --kill-after=5 60 bin/parity --device=cuda:0 --only=ops --small --once >"$tmp/log" 2>&1
status=$?
grep -q '^result:' "$tmp/log" || refuse "bin/parity --device=cuda:0 ends with $status: $(tail -n 1 "$tmp/log")"

export -f machine tests sanitizer images train torch compile within
export out tmp
gpt="tokens:data/text"
# The same many times over, so that few batches are the short last one of an epoch.
for _ in {1..16}; do cat data/text; done >"$tmp/long_text"
long=$(printf 'tokens:%q' "$tmp/long_text")
adam="--optimizer=adamw --warmup_samples=2000"
mlp="--model=mlp:1024,1024 --batch=512 --epochs=5 --learning_rate=0.05"
cnn="--model=cnn --batch=128 --epochs=5 --optimizer=adam --learning_rate=0.002"
gpt10m="--model=gpt:10m --batch=32 --epochs=20 $adam --learning_rate=0.001"
gpt124m="--model=gpt:124m,vocab=50257 --batch=32 --num_ps=8 --eval=false --pull_encoding=bf16 --learning_rate=0.01"
step machine 20 bash -c machine
step parity 90 bin/parity --device=cuda:0
step tests 60 bash -c tests
step memcheck 90 bash -c "sanitizer memcheck '--once' --leak-check no"
# It follows each access to shared memory. (By itself each of the four would take all cores.)
step racecheck 120 bash -c "sanitizer racecheck '--small --once' --racecheck-num-workers 4"
step benchmark 120 bin/benchmark --device=cuda:0
step torch 60 bash -c torch
step compile 90 bash -c compile
step mlp1 30 bash -c "train \$(images) 1 $mlp"
step mlp4 30 bash -c "train \$(images) 4 $mlp"
step tf32 30 bash -c "train \$(images) 1 $mlp --tf32"
step cnn1 30 bash -c "train \$(images) 1 $cnn"
step cnn4 30 bash -c "train \$(images) 4 $cnn"
step gpt1 45 bash -c "train $gpt 1 $gpt10m"
step gpt4 45 bash -c "train $gpt 4 $gpt10m"
step bf16x4 45 bash -c "train $gpt 4 $gpt10m --push_encoding=bf16 --pull_encoding=bf16"
step gpt124m 60 bash -c "train $long 1 $gpt124m --steps=120 --push_encoding=bf16"
step int8 60 bash -c "train $long 1 $gpt124m --steps=120 --push_encoding=int8"
step topk 60 bash -c "train $long 1 $gpt124m --steps=120 --push_encoding=top_k:0.01"
echo
echo "step         verdict       time  result"
printf '%s\n' "${rows[@]}"
exit $failed
