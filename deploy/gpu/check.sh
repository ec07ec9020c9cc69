#!/bin/bash
# check.sh [OUT]: inside an unpacked bundle, tries everything that a GPU is needed for, in under 8 minutes: parity of
# every op, compute-sanitizer on some of them, benchmarks, training with one `ps` and one, then four workers on one GPU.
# Each step has a limit of its own, its log lies in OUT (./results), and one table comes last. Exits non-zero if a step
# failed. CHECK_ONLY="parity tests" runs only the steps of these names.
set -uo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-results}")
mkdir -p "$out"
rows=()
failed=0

# step NAME SECONDS COMMAND...: the last line of its log that begins with "result:" goes into the table.
step() {
  local name=$1 limit=$2 start=$SECONDS status verdict
  shift 2
  case " ${CHECK_ONLY:-$name} " in *" $name "*) ;; *) return ;; esac
  timeout --kill-after=5 "$limit" "$@" >"$out/$name.log" 2>&1
  status=$?
  case $status in
    0) verdict=ok ;;
    124 | 137) verdict="over $limit s" ;;
    *) verdict="failed ($status)" ;;
  esac
  [ $status = 0 ] || failed=1
  rows+=("$(printf '%-12s %-12s %4d s  %s' "$name" "$verdict" $((SECONDS - start)) \
    "$(grep -a '^result:' "$out/$name.log" | tail -1 | cut -c9-)")")
  # A failed step is shown at once: the log may not come back.
  [ $status = 0 ] || { echo "== $name: $verdict"; tail -n 25 "$out/$name.log" | cut -c1-300; }
}

machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  uname -r
  grep -m1 'model name' /proc/cpuinfo
  echo "result: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1), $(nproc) cores"
}

# The tests of the CPU backend, on the GPU.
tests() {
  local test count=0
  export LEEWAY_TEST_DEVICE=cuda:0
  for test in backend elementwise linear conv attention transformer_ops; do
    [ -e "bin/${test}_test" ] || continue
    echo "== $test"
    "bin/${test}_test" '~*on the cpu backend*' || count=$((count + 1))
  done
  echo "result: $count test programs failed"
  [ $count = 0 ]
}

sanitizer() {
  local program
  program=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)
  if [ -z "$program" ]; then
    echo "result: skipped, there is no compute-sanitizer"
    return 0
  fi
  "$program" --tool memcheck --error-exitcode 9 --leak-check no bin/parity --device=cuda:0 --small &&
    "$program" --tool racecheck --error-exitcode 9 bin/parity --device=cuda:0 --small &&
    echo "result: memcheck and racecheck found nothing"
}

torch() {
  if ! python3 -c "import torch; assert torch.cuda.is_available()" 2>/dev/null; then
    echo "result: skipped, there is no PyTorch"
    return 0
  fi
  python3 torch_gpt.py
}

# images: what there is to train on.
images() {
  if [ -e data/train-images-idx3-ubyte.gz ]; then echo data; else echo synthetic:60000; fi
}

# train DATA WORKERS FLAGS...: a run of `leeway`, and the numbers of its summary.
train() {
  local data=$1 workers=$2 folder
  shift 2
  folder=$(mktemp -d "$out/run.tmp.XXXX")
  bin/leeway run --ps_binary=bin/ps --worker_binary=bin/worker --data="$data" --num_workers="$workers" --device=cuda:0 \
    --out="$folder" "$@"
  local status=$?
  cat "$folder"/*.log 2>/dev/null
  python3 - "$folder/summary.json" <<'PYTHON'
import json, sys
run = json.load(open(sys.argv[1]))
names = ("final_accuracy", "training_loss", "samples_per_second", "seconds")
exposed = [w["communication_per_step"]["exposed_share"] for w in run["workers"] if w["role"] == "trainer"]
figures = [f"{name} {run[name]:.4g}" for name in names if run[name] is not None]
print("result:", ", ".join(figures), "exposed", [round(e or 0, 3) for e in exposed])
PYTHON
  rm -rf "$folder"
  return $status
}

. ./env.sh
export -f machine tests sanitizer images train torch
export out
gpt="tokens:data/text"
adam="--optimizer=adamw --warmup_samples=2000"
step machine 20 bash -c machine
step parity 60 bin/parity --device=cuda:0
step tests 60 bash -c tests
step benchmark 100 bin/benchmark --device=cuda:0
step torch 60 bash -c torch
step mlp1 30 bash -c "train \$(images) 1 --model=mlp:1024,1024 --batch=512 --epochs=5 --learning_rate=0.05"
step mlp4 30 bash -c "train \$(images) 4 --model=mlp:1024,1024 --batch=512 --epochs=5 --learning_rate=0.05"
step cnn1 30 bash -c "train \$(images) 1 --model=cnn --batch=128 --epochs=5 --optimizer=adam --learning_rate=0.002"
step cnn4 30 bash -c "train \$(images) 4 --model=cnn --batch=128 --epochs=5 --optimizer=adam --learning_rate=0.002"
step gpt1 45 bash -c "train $gpt 1 --model=gpt:10m --batch=32 --epochs=20 $adam --learning_rate=0.001"
step gpt4 45 bash -c "train $gpt 4 --model=gpt:10m --batch=32 --epochs=20 $adam --learning_rate=0.001"
step gpt124m 60 bash -c "train $gpt 1 --model=gpt:124m,vocab=50257 --batch=32 --steps=120 --num_ps=8 --eval=false \
  --push_encoding=bf16 --pull_encoding=bf16 --learning_rate=0.01"
step sanitizer 90 bash -c sanitizer
echo
echo "step         verdict       time  result"
printf '%s\n' "${rows[@]}"
exit $failed
