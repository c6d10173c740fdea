#!/usr/bin/env bash
# Says whether a message is BatchScribe's: verify.sh whsec_... ID TIMESTAMP SIGNATURES < body
# ID, TIMESTAMP and SIGNATURES are the headers webhook-id, webhook-timestamp and webhook-signature, as a CGI script or
# a tool such as webhook (github.com/adnanh/webhook) hands them over. Needs openssl and od.
set -euo pipefail
secret=${1#whsec_} id=$2 timestamp=$3 signatures=$4
age=$(( $(date +%s) - timestamp ))
(( age < 300 && age > -300 )) || { echo "too old" >&2; exit 1; }
key=$(printf %s "$secret" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
expected=$({ printf %s "$id.$timestamp."; cat; } | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
for signature in $signatures; do
  [[ $signature == "v1,$expected" ]] && exit 0
done
echo "not ours" >&2
exit 1
