#!/usr/bin/env bash
# The static program: built with musl, put through the tests of whole servers, run in a folder that holds nothing else, and
# in a container made of deploy/Containerfile, configured and probed as deploy/kubernetes.yaml says.
#   tests/packages/static.sh
# Needs root, musl-tools, python3 and, for the container, podman with runc. Nothing of it uses this machine's network.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
tools=$here/target/tools
work=$(mktemp -d)
target=x86_64-unknown-linux-musl
program=$here/target/$target/debug/surtidor

say() { printf '%s\n' "--- $*"; }
fail() {
  echo "FAILED: $*" >&2
  exit 1
}
trap 'rm -rf "$work"' EXIT

# Rust's library for musl comes with rustup. Where that reaches nothing, Debian has the library's sources of many versions,
# and the unwinder that the library is linked with.
fetch_library() {
  local version found sources=$tools/rust-library
  version=$(rustc --version | cut -d' ' -f2)
  export RUST_LIBRARY=$sources/$version
  if [[ -d $RUST_LIBRARY/library ]]; then return; fi
  rm -rf "$sources"
  mkdir -p "$sources"/{lists/partial,cache/archives/partial,new}
  printf 'deb http://deb.debian.org/debian %s main\n' bookworm trixie trixie-backports forky sid >"$sources/sources.list"
  local apt=(-qq -o "Dir::Etc::sourcelist=$sources/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$sources/lists"
    -o "Dir::Cache=$sources/cache" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update
  found=$(apt-cache "${apt[@]}" madison rust-src | awk -v v="$version+" 'index($3, v) == 1 && !n++ { print $3 }')
  [[ $found ]] || fail "Debian has no rust-src of $version, and rustup has not brought it: rustup target add $target"
  (cd "$sources/new" && apt-get "${apt[@]}" download "rust-src=$found" libunwind-14-dev &&
    for package in *.deb; do dpkg-deb -x "$package" .; done)
  mkdir -p "$RUST_LIBRARY"
  # The unwinder was made for glibc's checked functions, of which musl lacks one.
  cat >"$sources/new/checked.c" <<'SOURCE'
#include <stdarg.h>
#include <stdio.h>
int __fprintf_chk(FILE *to, int flag, const char *format, ...) {
  va_list rest;
  va_start(rest, format);
  int written = vfprintf(to, format, rest);
  va_end(rest);
  return written;
}
SOURCE
  musl-gcc -O2 -c -o "$sources/new/checked.o" "$sources/new/checked.c"
  cp "$sources/new/usr/lib/llvm-14/lib/libunwind.a" "$RUST_LIBRARY/"
  ar r "$RUST_LIBRARY/libunwind.a" "$sources/new/checked.o"
  mv "$sources/new/usr/src/rustc-$version/library" "$RUST_LIBRARY/"
  rm -rf "$sources"/{new,cache,lists}
}

say "built"
[[ -d $(rustc --print sysroot)/lib/rustlib/$target ]] || fetch_library
deploy/static.sh --profile dev
ls -l "$program"
if readelf --program-headers --dynamic "$program" | grep -E 'INTERP|NEEDED'; then fail "it needs something of the machine"; fi
"$program" --version | tee "$work/version"
grep -q ', static$' "$work/version" || fail "it does not know that it is static"

say "the tests of whole servers"
# Those that start the program by its name; but for those that put a library before it, of which it takes none (clockjumps),
# and those that take long and are of no library (chaos, proxies, slow).
SURTIDOR_BINARY=$program cargo test --quiet --locked --test it -- \
  cli:: crash:: demo:: disk:: examples:: kept:: notifications:: oauth:: packages:: process:: readme:: sandbox::command \
  secured:: systemd:: tokens:: torture::

say "in a folder that holds nothing else"
mkdir -p "$work"/root/{etc/surtidor,proc,usr/bin,var/lib,run}
cp "$program" "$work/root/usr/bin/"
printf '127.0.0.1 localhost mercadopago.hosts.test\n' >"$work/root/etc/hosts"
printf 'nameserver 127.0.0.1\n' >"$work/root/etc/resolv.conf"
# The name spaces go, and with them all that was started and mounted.
unshare --net --mount --pid --fork --kill-child --mount-proc tests/packages/alone.sh "$work/root" ||
  fail "it does not run in an empty folder"

say "in a container"
if ! command -v podman >/dev/null || ! command -v runc >/dev/null; then
  echo "SKIPPED, NOT TESTED: the container: podman or runc is missing"
  exit 0
fi
name=surtidor-test-$$
pod() {
  timeout 120 podman --root "$work/store" --runroot "$work/podman" --storage-driver vfs --cgroup-manager cgroupfs \
    --events-backend file --runtime runc "$@"
}
# conmon, which watches over the container, tidies up after it, and must have done so first.
tidy() {
  pod rm -f -t 0 "$name" >/dev/null 2>&1 || true
  if [[ -s $work/conmon ]]; then timeout 20 tail --pid="$(<"$work/conmon")" -f /dev/null || true; fi
  rm -rf "$work"
}
trap tidy EXIT
mkdir -p "$work"/{image,config,secrets,run,data}
cp "$program" "$work/image/"
(($(wc -l <deploy/Containerfile) == 5)) || fail "deploy/Containerfile has other than five lines"
pod build -q -t surtidor -f deploy/Containerfile "$work/image" >/dev/null
"$tools/venv/bin/python" tests/packages/kubernetes.py "$program" "$work/config/surtidor.toml" >"$work/probes"
echo some-token >"$work/secrets/token"
chown -R 65532:65532 "$work/secrets" "$work/run" "$work/data"
chmod 0755 "$work"
chmod 0440 "$work/secrets/token"
limits=(--network none --ulimit nofile=16384:16384 --ulimit nproc=1024:1024)
# What runs in no container ran above; where none can run at all, nobody can say more.
if ! pod run --rm "${limits[@]}" surtidor --version >"$work/said" 2>&1; then
  cat "$work/said"
  echo "SKIPPED, NOT TESTED: the container: none can run here"
  exit 0
fi
cmp <(sort "$work/version") <(sort "$work/said") || fail "it is another program in the container"
pod run --detach --name "$name" --conmon-pidfile "$work/conmon" "${limits[@]}" --read-only --cap-drop all --security-opt no-new-privileges \
  -v "$work/config:/etc/surtidor:ro" -v "$work/secrets:/etc/surtidor-secrets:ro" -v "$work/run:/run/surtidor" \
  -v "$work/data:/var/lib/surtidor" surtidor >/dev/null
# Returns once it says that it serves.
serves() {
  timeout 30 sed '/Try it/q' < <(pod logs --follow --since "$1" "$name" 2>&1) >"$work/log" && grep -q 'Try it' "$work/log" ||
    { cat "$work/log"; fail "it does not start"; }
}
serves 0
while read -r -a probe; do
  pod exec "$name" "${probe[@]}" || fail "the probe ${probe[*]}"
done <"$work/probes"
call=(curl -fsS --max-time 10)
put=("${call[@]}" --unix-socket "$work/run/control.sock" -X PUT)
"${put[@]}" http://s/v1/pos/PUMP1 -d '{"keys":{"locationId":"1","positionId":"1"}}' >/dev/null
"${put[@]}" http://s/v1/pos/PUMP1/order -d '{"external_reference":"T-1","amount":"1.50","title":"SUPER"}' >/dev/null
poll() {
  nsenter --net --target "$(pod inspect --format '{{.State.Pid}}' "$name")" \
    "${call[@]}" 'http://127.0.0.1:8080/pay-mp?locationId=1&positionId=1'
}
poll | grep -o '"external_reference":"T-1"'
pod stop -t 20 "$name" >/dev/null
[[ $(pod inspect --format '{{.State.ExitCode}}' "$name") == 0 ]] || fail "it does not end in order"
since=$(date --iso-8601=ns)
pod start "$name" >/dev/null
serves "$since"
poll | grep -o '"external_reference":"T-1"' || fail "the order is gone after a restart"

say "done"
