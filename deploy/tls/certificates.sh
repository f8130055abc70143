#!/bin/sh
# Makes an authority and one certificate for all nodes of deploy/tls/docker-compose.yml:
#
#   deploy/tls/certificates.sh [DIR] [NAME...]        (deploy/tls/certs, count-1 count-2 count-3 localhost)
#
# Again: a new certificate of the same authority, which the nodes use from their
# next connection on. For what matters use an authority of your own.
set -eu
dir=${1:-$(dirname "$0")/certs}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- count-1 count-2 count-3 localhost
mkdir -p "$dir"
cd "$dir"
key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
if [ ! -e ca.key ]; then
	key ca.key
	openssl req -x509 -new -key ca.key -subj "/CN=count" -days 3650 -out ca.pem
fi
key node.key
names=IP:127.0.0.1
for name in "$@"; do names=$names,DNS:$name; done
# Nodes show it to one another as clients, too.
printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" >node.ext
openssl req -new -key node.key -subj "/CN=count" |
	openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile node.ext -out node.crt 2>/dev/null
# One file with both, put in place at once: certificate and key change together.
cat node.crt node.key >node.pem.new
chmod 644 ca.pem node.pem.new # the nodes are another user
mv node.pem.new node.pem
rm node.key node.crt node.ext
