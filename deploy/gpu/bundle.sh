#!/bin/bash
# bundle.sh [--parity | --image=cpu|cuda] [FILE]: builds Leeway with its CUDA backend and packs it into FILE
# (leeway-gpu.tar.xz): programs, GPU tests, benchmark, and every library that they need but CUDA's and the C library's.
# Unpacked anywhere on an x86-64 Linux machine with glibc 2.36 or newer, a driver and CUDA 13 (or Python's
# nvidia-cublas), ./check.sh tries all of it.
#
#   --parity   only the tests of the arithmetic and the benchmark, for quick tries: a smaller file
#   --image    only the programs and the data, for deploy/docker; cpu: without the CUDA backend, which needs no CUDA
#
# FILE's name says how it is packed (.tar.xz, .tar.gz). It is replaced when the new one is whole.
# Fashion-MNIST goes in where it is installed and fits; else check.sh trains on made-up images.
set -euo pipefail
max_bytes=$((60 << 20))
usage="usage: $0 [--parity | --image=cpu|cuda] [FILE]"
parity='' image=''
case ${1:-} in
  --parity) parity=1 && shift ;;
  --image=cpu | --image=cuda) image=${1#--image=} max_bytes=$((1 << 40)) && shift ;;
  -h | --help) echo "$usage" && exit 0 ;;
esac
case ${1:-} in -*) echo "bundle.sh: $1 ($usage)" >&2 && exit 2 ;; esac
[ $# -le 1 ] || { echo "bundle.sh: one FILE, not $# ($usage)" >&2; exit 2; }
file=$(realpath -m "${1:-leeway-gpu.tar.xz}")
case $file in
  *.tar.xz | *.tar.gz) ;;
  *) echo "bundle.sh: ${1:-}: allowed are .tar.xz and .tar.gz ($usage)" >&2 && exit 2 ;;
esac
cd "$(dirname "$(readlink -f "$0")")/../.."

programs=(//server:ps //worker:worker //cli:leeway)
tests=(//tests/kernels:{backend,elementwise,linear,conv,attention,transformer_ops}_test //tests/gpu:{parity,benchmark}
  //tests/worker/models:{layers,models}_test //tests/worker/models/gpt:gpt_test
  //tests/worker/trainer:{device_encoder,engine,evaluator,give_up,trainer}_test)
backend=(//kernels/cuda:libleeway_cuda.so)
config=(--config=opt --config=cuda)
[ -z "$parity" ] || programs=()
[ -z "$image" ] || tests=()
[ "$image" != cpu ] || backend=() config=(--config=opt)
needed=(patchelf)
case $file in *.xz) needed+=(xz) ;; esac
for tool in "${needed[@]}"; do
  command -v "$tool" >/dev/null || { echo "bundle.sh: needs $tool (apt-get install patchelf xz-utils)" >&2; exit 1; }
done

partial=$(dirname "$file")/partial.$$.$(basename "$file")
touch "$partial" || exit 2  # it says why
folder=$(mktemp -d)
trap 'rm -rf "$folder" "$partial"' EXIT
# run COMMAND...: its status. INT and TERM are heard at once and end it, too.
running=''
run() {
  "$@" &
  running=$!
  wait "$running"
  running=''
}
end() {
  [ -z "$running" ] || { kill "$running" && wait "$running"; } || true
  exit "$1"
}
trap 'end 130' INT
trap 'end 143' TERM

run bazel build "${config[@]}" --noshow_progress "${programs[@]}" "${tests[@]}" "${backend[@]}"
out=$folder/leeway-gpu
mkdir -p "$out/bin" "$out/lib" "$out/data"

# add FILE FOLDER RPATH: copies a program or library, with the libraries that it needs.
add() {
  local copy
  copy=$2/$(basename "$1")
  cp -L "$1" "$copy"
  chmod u+w "$copy"
  strip --strip-unneeded "$copy"
  ldd "$copy" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | while read -r library; do
    case $(basename "$library") in
      libc.so.6 | libm.so.6 | libdl.so.2 | librt.so.1 | libpthread.so.0 | libresolv.so.2) ;;
      libcuda* | libcublas* | libnv*) ;;
      *) [ -e "$out/lib/$(basename "$library")" ] || cp -L "$library" "$out/lib/" ;;
    esac
  done
  patchelf --set-rpath "$3" "$copy"
}

for label in "${programs[@]}" "${tests[@]}"; do
  path=${label#//}
  add "bazel-bin/${path/://}" "$out/bin" "\$ORIGIN/../lib"
done
# The toolkit's usual place comes second: the bundle's env.sh says where CUDA is elsewhere.
[ ${#backend[@]} = 0 ] || add bazel-bin/kernels/cuda/libleeway_cuda.so "$out/lib" "\$ORIGIN:/usr/local/cuda/lib64"
for library in "$out"/lib/*.so.*; do
  chmod u+w "$library"
  patchelf --set-rpath "\$ORIGIN" "$library"
done
if [ -z "$image" ]; then
  cp deploy/gpu/{check,env}.sh tests/gpu/torch_gpt.py "$out/"
  # Some text to train on: our own.
  cat README.md docs/*.md docs/adr/*.md >"$out/data/text"
fi
git rev-parse HEAD >"$out/COMMIT" 2>/dev/null || true

data=/usr/share/datasets/fashion-mnist
if [ -z "$parity" ] && [ -d "$data" ]; then cp "$data"/*.gz "$out/data/"; fi
run tar -C "$folder" -caf "$partial" leeway-gpu
bytes=$(stat -c %s "$partial")
if [ "$bytes" -ge $max_bytes ] && ls "$out"/data/*.gz >/dev/null 2>&1; then
  echo "bundle.sh: without Fashion-MNIST, with which it would have $bytes bytes"
  rm "$out"/data/*.gz
  run tar -C "$folder" -caf "$partial" leeway-gpu
  bytes=$(stat -c %s "$partial")
fi
[ "$bytes" -lt $max_bytes ] || { echo "bundle.sh: $bytes bytes; a bundle has less than $max_bytes" >&2; exit 1; }
mv -T "$partial" "$file"
echo "$file: $((bytes >> 20)) MiB"
