#!/bin/bash
# build.sh [cpu|cuda] [NAME:TAG]: builds the programs, packs them, and makes an image of them with docker (or what
# DOCKER says: DOCKER=podman). cpu (the default) needs no CUDA toolkit; cuda needs one (nvcc). Default names:
# leeway:VERSION and leeway-cuda:VERSION. Arguments after those go to docker build.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${1:-cpu}
version=$(sed -n 's/.*kVersion\[\] = "\(.*\)".*/\1/p' common/version.h)
case $target in
  cpu) name=leeway ;;
  cuda) name=leeway-cuda ;;
  *)
    echo "usage: $0 [cpu|cuda] [NAME:TAG] [ARGUMENTS OF docker build]" >&2
    exit 2
    ;;
esac
tag=${2:-$name:$version}
shift $(($# < 2 ? $# : 2))

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
deploy/gpu/bundle.sh --image="$target" "$context/leeway-image.tar.gz"
${DOCKER:-docker} build --target "$target" --file deploy/docker/Dockerfile --tag "$tag" \
  --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
  --build-arg CREATED="$(date --utc +%Y-%m-%dT%H:%M:%SZ)" "$@" "$context"
echo "build.sh: $tag"
