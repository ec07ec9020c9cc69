#!/bin/bash
# try_image.sh: builds the image `cpu` with buildah from the real Dockerfile, and runs it as Kubernetes would: as its
# user, without capabilities, on a read-only root. Its base, debian:12.11-slim, is made with debootstrap: no registry is
# needed. By hand, as root; needs buildah, debootstrap. Prints the sizes; exits non-zero if anything is wrong.
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in buildah debootstrap; do
  command -v $tool >/dev/null || { echo "try_image.sh: needs $tool (apt-get install buildah debootstrap)" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "try_image.sh: needs root" >&2; exit 1; }

folder=$(mktemp -d /var/tmp/leeway-image.XXXXXX)
end() {
  # The container's root, and what buildah has mounted for its store.
  awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | tac | xargs --no-run-if-empty umount
  rm -rf --one-file-system "$folder"
}
trap end EXIT
# Everything in here, and gone with it: nothing of it is left in the user's own store of images.
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$folder/store" --runroot "$folder/run" "$@"; }

# shellcheck disable=SC2016  # it is apt's variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | head -1)
debootstrap --variant=minbase bookworm "$folder/debian" "${mirror:-http://deb.debian.org/debian}" >"$folder/log" 2>&1 ||
  { tail -20 "$folder/log" >&2; exit 1; }
# What Debian's slim images leave out.
rm -rf "$folder"/debian/usr/share/{doc,man,locale,info}/* "$folder"/debian/var/{lib/apt/lists,cache/apt}/*
base=$(buildah from scratch)
buildah copy --quiet "$base" "$folder/debian" / >/dev/null
buildah commit --quiet "$base" docker.io/library/debian:12.11-slim >/dev/null
buildah rm "$base" >/dev/null

# build.sh calls a program: this function by another name.
cat >"$folder/docker" <<END
#!/bin/bash
[ "\$1" = build ] && shift
exec buildah --root $folder/store --runroot $folder/run build --pull-never --format docker "\$@"
END
chmod +x "$folder/docker"
DOCKER=$folder/docker ./deploy/docker/build.sh cpu leeway:try

container=$(buildah from --pull-never localhost/leeway:try)
config=$(buildah inspect --type image localhost/leeway:try)
label=org.opencontainers.image
for wanted in '"User": "65532:65532"' "\"$label.version\": \"0.1.0\"" "\"$label.licenses\""; do
  grep -q "$wanted" <<<"$config" || { echo "try_image.sh: the image's configuration lacks $wanted" >&2; exit 1; }
done

root=$(buildah mount "$container")
run() {
  # shellcheck disable=SC2016  # they are the inner shell's
  unshare --mount --net --propagation=private sh -ec '
    root=$1 && shift
    ip link set lo up
    mount --bind "$root" "$root"
    mount -o remount,bind,ro "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/var/lib/leeway"
    chmod 777 "$root/var/lib/leeway"
    user="--reuid=65532 --regid=65532 --clear-groups"
    exec chroot "$root" /usr/bin/setpriv $user --no-new-privs --bounding-set=-all "$@"
    ' sh "$root" "$@"
}
export PATH=/opt/leeway/bin:$PATH
for program in ps worker leeway; do run "/opt/leeway/bin/$program" --version; done
if run /bin/touch /opt/leeway/x 2>/dev/null; then echo "try_image.sh: the root can be written to" >&2; exit 1; fi
# `leeway run` in it: programs, libraries and data are all there.
run /opt/leeway/bin/leeway run --model=softmax --data=/opt/leeway/data --num_ps=2 --num_workers=2 --epochs=1 \
  --out=/var/lib/leeway/run --display_every=2s
echo "sizes: Debian $(du -sm "$folder/debian" | cut -f1) MB, /opt/leeway $(du -sm "$root/opt/leeway" | cut -f1) MB" \
  "(data $(du -sm "$root/opt/leeway/data" | cut -f1) MB)"
