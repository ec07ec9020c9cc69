#!/bin/bash
# fresh_machine.sh [PARENT [COMMAND...]]: proves the README's commands on a Debian 12 on which nothing is installed.
#
# Makes a minimal Debian tree in a new folder under PARENT (default /var/tmp; it needs about 4 GB on a real disk), puts
# a clean clone of HEAD into it, runs each COMMAND there as a new user would (default: install_deps.sh, quickstart.sh,
# run.sh), prints how long each took with its last line, and removes the tree, also when interrupted. Exits non-zero if
# a command failed. Packages come from where the host gets its own. Needs root and debootstrap. Not part of run.sh.
set -euo pipefail

suite=bookworm
parent=${1:-/var/tmp}
shift || true
[ $# -gt 0 ] || set -- ./deploy/install_deps.sh ./deploy/local/quickstart.sh ./tests/run.sh

if [ "$(id -u)" != 0 ]; then
  echo "fresh_machine: needs root (debootstrap and chroot)" >&2
  exit 1
fi
if ! command -v debootstrap >/dev/null; then
  echo "fresh_machine: needs debootstrap (apt-get install debootstrap)" >&2
  exit 1
fi

cd "$(dirname "$0")/.."
[ -z "$(git status --porcelain)" ] || echo "fresh_machine: changes that are not committed are not tried" >&2

top=$(mktemp -d "$parent/leeway-fresh.XXXXXX")
trap 'rm -rf --one-file-system "$top"' EXIT
trap 'exit 130' INT TERM
root=$top/root

# Debian's own package sources of the host, or else the public ones.
sources=$(apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
  'Created-By: Packages' 'Origin: Debian' 2>/dev/null | grep " $suite" | sort -u || true)
[ -n "$sources" ] || sources="deb http://deb.debian.org/debian $suite main"
mirror=$(awk -v suite="$suite" '$3 == suite { print $2; exit }' <<<"$sources")

start=$SECONDS
include=()
[[ $sources != *https://* ]] || include=(--include=ca-certificates)
if ! debootstrap --variant=minbase "${include[@]}" "$suite" "$root" "$mirror" >"$top/debootstrap.log" 2>&1; then
  tail -n 20 "$top/debootstrap.log" >&2
  exit 1
fi
echo "$sources" >"$root/etc/apt/sources.list"
# Proxies and the like.
apt-config dump Acquire | grep -E '^Acquire::(http|https|Retries|Check)' >"$root/etc/apt/apt.conf.d/90host" || true
cp -rL /etc/apt/auth.conf.d "$root/etc/apt/" 2>/dev/null || true
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
git clone --quiet . "$root/opt/leeway"
echo "fresh_machine: Debian $(cat "$root/etc/debian_version") from $mirror in $((SECONDS - start)) s"

# A process and mount namespace of its own: what the commands leave running or mounted ends with them.
inside() {
  unshare --mount --pid --fork --kill-child bash -c '
    mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/dev/shm" && mount -t devpts devpts "$0/dev/pts" || exit 1
    exec chroot "$0" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb \
      ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
      bash -c "cd /opt/leeway && $1"' "$root" "$1"
}

summary=()
status=0
for command in "$@"; do
  echo "fresh_machine: $command"
  start=$SECONDS
  result=passed
  inside "$command" 2>&1 | tee "$top/command.log" || result=FAILED status=1
  summary+=("$(printf '%-32s %-6s %5d s  %s' "$command" $result $((SECONDS - start)) \
    "$(tail -n 1 "$top/command.log")")")
done
echo "fresh_machine: $(du -sh --one-file-system "$root" | cut -f1) in the end"
printf '%s\n' "${summary[@]}"
exit $status
