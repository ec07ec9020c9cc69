#!/bin/bash
# install_deps.sh [--dev]: installs the Debian or Ubuntu packages that Leeway is built from.
#
# Does nothing, in well under a second, when all are there. --dev adds clang (its sanitizers and the lock check),
# clang-format and clang-tidy. Exits non-zero, with the reason, when a package cannot be had.
set -euo pipefail

build=(bazel-bootstrap bazel-rules-java bazel-skylib g++ pkgconf python3)
wire=(libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libabsl-dev)
network=(libssl-dev openssl libboost-dev)
arithmetic=(libdnnl-dev)
logs_and_files=(libspdlog-dev libfmt-dev nlohmann-json3-dev zlib1g-dev libre2-dev)
metrics=(prometheus-cpp-dev)
data=(dataset-fashion-mnist)
tests=(catch2 libbenchmark-dev chromium prometheus)
deployment=(python3-venv python3-yaml iproute2 systemd patchelf xz-utils) # tests/deploy and deploy/docker
dev=(clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14)

wanted=("${build[@]}" "${wire[@]}" "${network[@]}" "${arithmetic[@]}" "${logs_and_files[@]}" "${metrics[@]}")
wanted+=("${data[@]}" "${tests[@]}" "${deployment[@]}")
case "${1-}" in
  "") ;;
  --dev) wanted+=("${dev[@]}") ;;
  *)
    echo "usage: $0 [--dev]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "install_deps: only Debian 12 and Ubuntu are known here (there is no apt-get). Install what these hold:" >&2
  printf '  %s\n' "${wanted[@]}" >&2
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} = 0 ]; then
  echo "install_deps: all ${#wanted[@]} packages are installed"
  exit 0
fi
echo "install_deps: installing ${missing[*]}"

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install_deps: not root and there is no sudo; as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
run() {
  echo "+ $*" >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"
}

# A list that cannot be refreshed (a foreign repository that is down) matters only if a package is then missing.
run apt-get -qq update || echo "install_deps: apt-get update failed; going on with the package lists at hand" >&2

unknown=()
for package in "${missing[@]}"; do
  candidate=$(LC_ALL=C apt-cache policy "$package" | awk '$1 == "Candidate:" { print $2 }')
  case $candidate in "" | "(none)") unknown+=("$package") ;; esac
done
if [ ${#unknown[@]} != 0 ]; then
  echo "install_deps: no package source has ${unknown[*]}" >&2
  echo "install_deps: on Ubuntu enable universe (sudo add-apt-repository universe); Debian needs version 12" >&2
  exit 1
fi
# What it unpacks is of no interest; what goes wrong goes to stderr.
echo "install_deps: this takes some minutes"
run apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
echo "install_deps: done"
