#!/bin/sh
# node.sh PS_FLAGFILE WORKER_FLAGFILE [--flag=value ...]: becomes `ps` or `worker`, as TF_CONFIG or DMLC_* say.
#
# For launchers that start one and the same command everywhere: dmlc-core's dmlc-submit, MXNet's tools/launch.py,
# ps-lite's local.sh, Kubeflow's TFJob. What is behind the files goes to both programs. They are in $LEEWAY_BIN, or
# beside this script (not in $PATH, where `ps` lists processes).
set -eu

if [ $# -lt 2 ]; then
  echo "usage: $0 PS_FLAGFILE WORKER_FLAGFILE [--flag=value ...]" >&2
  exit 1
fi
ps_flags=$1
worker_flags=$2
shift 2

case "${DMLC_ROLE-}" in
  scheduler | server) program=ps ;;
  worker) program=worker ;;
  *)
    # The word behind "type" in TF_CONFIG's "task"; nothing else in it has that name.
    case $(printf '%s' "${TF_CONFIG-}" | tr -d ' \n\t' | sed -n 's/.*"type":"\([a-z]*\)".*/\1/p') in
      ps) program=ps ;;
      ?*) program=worker ;;
      *)
        echo "$0: neither TF_CONFIG nor DMLC_ROLE says what this process is" >&2
        exit 1
        ;;
    esac
    ;;
esac

path=${LEEWAY_BIN:-$(dirname "$0")}/$program
if [ ! -x "$path" ]; then
  echo "$0: no program at $path; LEEWAY_BIN says in which folder ps and worker are" >&2
  exit 1
fi
unset LEEWAY_BIN # else the programs would say that no flag has this name
if [ "$program" = ps ]; then
  exec "$path" --flagfile="$ps_flags" "$@"
fi
exec "$path" --flagfile="$worker_flags" "$@"
