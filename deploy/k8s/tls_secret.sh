#!/bin/bash
# tls_secret.sh [DAYS] [FOLDER]: makes an authority and a certificate for all pods of one namespace, good for DAYS
# (365), and prints them as the Secret leeway-tls of overlay tls:
#
#   ./deploy/k8s/tls_secret.sh | kubectl apply -n training -f -
#
# FOLDER keeps the files, ca.key too, so that a later call makes another certificate of the same authority; without it
# they are gone. With cert-manager this is not needed.
set -euo pipefail
days=${1:-365}
if [ $# -gt 1 ]; then
  folder=$2
  mkdir -p "$folder"
else
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi
umask 077
cd "$folder"

key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
if ! [ -e ca.key ]; then
  openssl req -x509 "${key[@]}" -days $((10 * days)) -subj /CN=leeway-ca -keyout ca.key -out ca.crt 2>/dev/null
fi
openssl req "${key[@]}" -subj /CN=leeway-ps -keyout tls.key -out tls.csr 2>/dev/null
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -out tls.crt -extfile - \
  2>/dev/null <<'END'
subjectAltName = DNS:leeway-ps, DNS:*.leeway-ps, DNS:localhost, IP:127.0.0.1
keyUsage = digitalSignature
extendedKeyUsage = serverAuth, clientAuth
END

cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: leeway-tls
  labels:
    app.kubernetes.io/name: leeway
type: kubernetes.io/tls
data:
  ca.crt: $(base64 --wrap=0 ca.crt)
  tls.crt: $(base64 --wrap=0 tls.crt)
  tls.key: $(base64 --wrap=0 tls.key)
END
