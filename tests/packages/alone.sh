#!/usr/bin/env bash
# Within name spaces of its own: the program in a folder that holds nothing else, which must resolve names by that folder's
# /etc/hosts and /etc/resolv.conf.   tests/packages/alone.sh FOLDER
set -euo pipefail
root=${1:?a folder}
run=(chroot "$root" /usr/bin/surtidor)
mount -t proc proc "${root:?}/proc"
ip link set lo up

# until_said WORD COMMAND…: starts it, and returns once it has said so.
until_said() {
  local word=$1 out line
  shift
  exec {out}< <(exec "$@" 2>&1)
  started=$!
  while read -r -t 30 -u "$out" line; do
    if [[ $line == *"$word"* ]]; then return; fi
    echo "$line"
  done
  echo "it did not say $word: $*" >&2
  exit 1
}

# A name server that knows one name.
until_said ready python3 -c '
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    asked, client = server.recvfrom(512)
    ours = b"\x0bmercadopago\x03dns\x04test\x00" in asked
    known = ours and b"\x04test\x00\x00\x01" in asked
    # The question once more, and an address if it was asked for one of that name.
    head = asked[:2] + (b"\x81\x80" if ours else b"\x81\x83") + b"\x00\x01" + (b"\x00\x01" if known else b"\x00\x00") + bytes(4)
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01" if known else b""
    server.sendto(head + asked[12:] + answer, client)
'

token=$("${run[@]}" sandbox --help | grep -o 'APP_USR-[0-9a-f-]*')
until_said 8090 "${run[@]}" sandbox --listen 127.0.0.1:8090
printf '%s' "$token" >"$root/etc/surtidor/token"
chmod 0600 "$root/etc/surtidor/token"
for name in localhost mercadopago.hosts.test mercadopago.dns.test; do
  cat >"$root/etc/surtidor/surtidor.toml" <<CONFIG
[mercadopago]
base_url = "http://$name:8090"
[notifications]
public_url = "https://pay.example.com/notifications"
[[account]]
id = "main"
collector_id = 178106235
site = "MLA"
access_token_file = "/etc/surtidor/token"
CONFIG
  until_said "Try it" "${run[@]}" serve --config /etc/surtidor/surtidor.toml
  server=$started
  "${run[@]}" health --ready
  "${run[@]}" pos add PUMP1 --key locationId=1 --key positionId=1 >/dev/null
  # The point of sale is missing there, which only the other side can say.
  told=$("${run[@]}" pos sync --base https://pay.example.com --config /etc/surtidor/surtidor.toml 2>&1) && exit 1
  [[ $told == PUMP1* ]] || { printf '%s is not resolved:\n%s\n' "$name" "$told"; exit 1; }
  echo "$name is resolved"
  kill "$server"
  wait "$server"
done
