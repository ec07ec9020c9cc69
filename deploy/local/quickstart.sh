#!/bin/bash
# quickstart.sh [FLAGS OF leeway run]: installs what is missing, builds Leeway, and trains a small CNN on Fashion-MNIST
# with 2 parameter servers and 3 workers on this machine. Flags given here come last, so they win.
set -euo pipefail
cd "$(dirname "$0")/../.."

data=/usr/share/datasets/fashion-mnist
out=runs/quickstart-$(date +%Y%m%d-%H%M%S)

echo "== 1/3 packages"
./deploy/install_deps.sh

echo "== 2/3 build"
quiet=()
[ -t 2 ] || quiet=(--noshow_progress)
bazel build --config=opt "${quiet[@]}" //server:ps //worker:worker //cli:leeway

echo "== 3/3 training: 2 parameter servers, 3 workers, data from $data (set-up and build took $SECONDS s)"
bazel-bin/cli/leeway run --model=cnn --data="$data" --num_ps=2 --num_workers=3 --epochs=6 \
  --optimizer=adam --learning_rate=0.002 --warmup_samples=6000 --schedule=cosine --schedule_total_samples=360000 \
  --http_port=0 --out="$out" "$@"

[ ! -e "$out/report.html" ] || echo "== the report is $PWD/$out/report.html ($SECONDS s in all)"
