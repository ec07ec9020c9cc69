#!/bin/bash
# make_certs.sh OUT [flags] [HOST ...]: an authority and certificates for a cluster, for who has no cert-manager.
#
#   OUT/ca.crt, ca.key             the authority; the key signs, and belongs nowhere near the cluster
#   OUT/{ps,worker,operator}/      tls.crt, tls.key, ca.crt: what a process of that kind gets
#
# HOST: further names or IP addresses of machines that run a `ps`. Run again, it renews the certificates by the
# authority that is there. docs/security.md says how to change the authority without a break:
#   --add_ca        makes a new authority and has it believed beside the old one; certificates stay
#   --drop_old_ca   has only the newest authority believed; certificates stay
#
#   --days=N        how long certificates are valid (90); an authority is for ten years
#   --num_ps=N      the names of so many pods of the StatefulSet leeway-ps go into the certificate of the `ps` (8)
#   --namespace=NS  their namespace (leeway)
set -euo pipefail

usage="usage: $0 OUT [--days=N] [--num_ps=N] [--namespace=NS] [--add_ca|--drop_old_ca] [HOST ...]"
fail() {
  echo "make_certs: $1 ($usage)" >&2
  exit 1
}

out="" days=90 num_ps=8 namespace=leeway what=renew hosts=()
for word in "$@"; do
  case $word in
    --days=*) days=${word#*=} ;;
    --num_ps=*) num_ps=${word#*=} ;;
    --namespace=*) namespace=${word#*=} ;;
    --add_ca) what=add_ca ;;
    --drop_old_ca) what=drop_old_ca ;;
    -h | --help) echo "$usage" && exit 0 ;;
    -*) fail "unknown flag $word" ;;
    *) if [ -z "$out" ]; then out=$word; else hosts+=("$word"); fi ;;
  esac
done
[ -n "$out" ] || fail "no OUT folder"
[[ $days =~ ^-?[0-9]+$ ]] || fail "--days=$days: allowed: a number"
[[ $num_ps =~ ^[0-9]+$ ]] || fail "--num_ps=$num_ps: allowed: a number"
command -v openssl >/dev/null || fail "openssl is not installed"

umask 077
mkdir -p "$out"
work=$(mktemp -d "$out/.making.XXXXXX")
trap 'rm -rf "$work"' EXIT

quietly() { # what it says matters only if it fails
  "$@" 2>"$work/said" || { cat "$work/said" >&2; fail "${*:0:3} failed"; }
}

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

make_authority() { # into $work/ca.crt and $work/ca.key
  quietly openssl req -x509 "${new_key[@]}" -keyout "$work/ca.key" -out "$work/ca.crt" -days 3650 \
    -subj "/CN=leeway authority $(date -u +%Y-%m-%dT%H:%M:%SZ) $(openssl rand -hex 4)" \
    -addext keyUsage=critical,keyCertSign,cRLSign
}

# Readers see the old file or the new one, whole.
put() { mv "$1" "$2"; }

names_of_ps() {
  local i suffix host
  for suffix in "" ".$namespace" ".$namespace.svc" ".$namespace.svc.cluster.local"; do
    printf 'DNS:leeway-ps%s\n' "$suffix"
    for ((i = 0; i < num_ps; ++i)); do printf 'DNS:leeway-ps-%d.leeway-ps%s\n' "$i" "$suffix"; done
  done
  for host in "${hosts[@]}"; do
    if [[ $host =~ ^[0-9.]+$|: ]]; then printf 'IP:%s\n' "$host"; else printf 'DNS:%s\n' "$host"; fi
  done
}

issue() { # KIND NAMES
  local kind=$1 names=$2
  mkdir -p "$out/$kind"
  printf 'subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n' \
    "$names" >"$work/extensions"
  quietly openssl req -new "${new_key[@]}" -keyout "$work/tls.key" -out "$work/request" -subj "/CN=leeway-$kind"
  quietly openssl x509 -req -in "$work/request" -CA "$out/ca.crt" -CAkey "$out/ca.key" \
    -set_serial "0x$(openssl rand -hex 15)" -days "$days" -extfile "$work/extensions" -out "$work/tls.crt"
  put "$work/tls.key" "$out/$kind/tls.key"
  put "$work/tls.crt" "$out/$kind/tls.crt"
}

hand_out_authorities() {
  local kind
  for kind in ps worker operator; do
    mkdir -p "$out/$kind"
    cp "$out/ca.crt" "$work/believed"
    put "$work/believed" "$out/$kind/ca.crt"
  done
}

case $what in
  renew)
    if [ ! -e "$out/ca.crt" ]; then
      make_authority
      put "$work/ca.key" "$out/ca.key"
      put "$work/ca.crt" "$out/ca.crt"
    fi
    hand_out_authorities
    here=DNS:localhost,IP:127.0.0.1,IP:::1
    issue ps "$here,$(names_of_ps | paste -sd,)"
    issue worker "$here"
    issue operator "$here"
    echo "make_certs: certificates for $days days, by $(openssl x509 -in "$out/ca.crt" -noout -subject)"
    ;;
  add_ca)
    [ -e "$out/ca.crt" ] || fail "$out has no authority yet"
    make_authority
    cat "$work/ca.crt" "$out/ca.crt" >"$work/both" # the newest one first: it signs
    put "$work/ca.key" "$out/ca.key"
    put "$work/both" "$out/ca.crt"
    hand_out_authorities
    echo "make_certs: believed now: $(grep -c BEGIN "$out/ca.crt") authorities"
    ;;
  drop_old_ca)
    [ -e "$out/ca.crt" ] || fail "$out has no authority yet"
    quietly openssl x509 -in "$out/ca.crt" -out "$work/newest"
    put "$work/newest" "$out/ca.crt"
    hand_out_authorities
    echo "make_certs: believed now: $(openssl x509 -in "$out/ca.crt" -noout -subject)"
    ;;
esac
