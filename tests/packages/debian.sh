#!/usr/bin/env bash
# The Debian package in an empty Debian 12: looked at by lintian, installed, started, upgraded, removed and purged, and the
# README's way to a first paid order. Needs root, debootstrap, lintian, cargo-deb and Debian's archive.
#   tests/packages/debian.sh SURTIDOR
# Nothing of it touches this machine: all happens in a folder, in name spaces of its own.
set -euo pipefail
program=$(realpath "${1:?a surtidor that was built}")
cd "$(dirname "$0")/../.."
here=$PWD
tools=$here/target/tools
export PATH="$tools/bin:$PATH" LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d)
root=$work/root
trap 'rm -rf "$work"' EXIT

say() { printf '%s\n' "--- $*"; }
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# An empty Debian: debootstrap's smallest, made once and kept as an archive.
empty() {
  local kept=$tools/bookworm.tar
  if [[ ! -s $kept ]]; then
    debootstrap --variant=minbase bookworm "$work/new" http://deb.debian.org/debian >"$work/debootstrap.log" ||
      { tail -5 "$work/debootstrap.log"; fail debootstrap; }
    tar -C "$work/new" -cf "$kept.new" .
    mv "$kept.new" "$kept"
    rm -rf "$work/new"
  fi
  rm -rf "$root"
  mkdir "$root"
  tar -C "$root" -xf "$kept"
  cp --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
}

# in_root COMMAND…: as in a terminal of that machine. What it starts ends with it.
in_root() {
  unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" /usr/bin/env -i \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# alone SCRIPT: the same without any network but its own loopback. The script has `started`: the server as its unit starts
# it, as its user, until it says that it serves.
alone() {
  cat >"$root/script" <<'EOF'
set -euo pipefail
started() {
  local run line
  run=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/surtidor.service)
  exec {out}< <(exec setpriv --reuid surtidor --regid surtidor --clear-groups $run 2>&1)
  server=$!
  while read -r -t 30 -u "$out" line; do
    [[ $line == "Try it"* ]] && surtidor health --ready && return
    echo "$line"
  done
  exit 1
}
stopped() {
  kill "$server"
  wait "$server"
}
EOF
  cat >>"$root/script"
  unshare --net bash -c 'ip link set lo up && exec "$@"' - \
    unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" /usr/bin/env -i \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root bash /script || fail "$1"
}

apt() { in_root apt-get -qq -o Dpkg::Use-Pty=0 "$@" >"$work/apt.log" 2>&1 || { tail -20 "$work/apt.log"; fail "apt-get $*"; }; }

say "packages"
# The older one is moved away: cargo-deb tidies up packages of other versions.
deploy/debian/build.sh --program "$program" --deb-version 0.0.9-1
mv target/debian/surtidor_0.0.9-1_*.deb "$work/"
deploy/debian/build.sh --program "$program"
old=$(echo "$work"/surtidor_*.deb)
new=$(echo target/debian/surtidor_*.deb)
ls -l "$old" "$new"

say "lintian"
lintian --fail-on error,warning --tag-display-limit 0 "$new" >"$work/lintian" 2>&1 ||
  { cat "$work/lintian"; fail lintian; }

say "installed"
empty
cp "$old" "$new" README.md "$root/root/"
apt update
apt install -y --no-install-recommends "/root/${old##*/}"
in_root getent passwd surtidor
for path in /usr/bin/surtidor /usr/share/man/man1/surtidor.1.gz /usr/share/man/man5/surtidor.toml.5.gz \
  /usr/share/doc/surtidor/crates.gz /usr/share/bash-completion/completions/surtidor; do
  in_root test -s "$path" || fail "$path is not there"
done
# It names what is in the program, and nothing that tests or benches use.
zgrep -q '^rusqlite ' target/deb/crates.gz || fail "crates.gz names too few"
if zgrep -q '^rcgen ' target/deb/crates.gz; then fail "crates.gz names too many"; fi
[[ $(in_root stat -c '%U %a' /var/lib/surtidor) == "surtidor 700" ]] || fail "the data folder's owner and mode"
[[ $(in_root dpkg-query -W -f '${Conffiles}' surtidor) == *" /etc/surtidor/surtidor.toml "* ]] || fail "no conffile"
in_root systemd-analyze verify --man=no /usr/lib/systemd/system/surtidor.service || fail "the unit, where it is installed"
# As shipped it must not run: the account in it is nobody's.
if in_root surtidor check --config /etc/surtidor/surtidor.toml >"$work/check" 2>&1; then fail "the example runs"; fi
grep -q /etc/surtidor/token "$work/check" || { cat "$work/check"; fail "it names no token"; }
if in_root systemctl is-enabled surtidor.service >/dev/null 2>&1; then fail "it is enabled without being asked"; fi

say "started"
echo test-token | in_root install -m 0640 -g surtidor /dev/stdin /etc/surtidor/token
sed -i 's/^id = "main"/id = "station"/; s|^base_url = .*|base_url = "http://127.0.0.1:9"|' "$root/etc/surtidor/surtidor.toml"
alone "it does not start" <<'EOF'
started
export SURTIDOR_SOCKET=/run/surtidor/control.sock
surtidor pos add PUMP1 --key locationId=1 --key positionId=1
surtidor order push PUMP1 --amount 10.50 --title SUPER --reference T-1 --expires 86400
stopped
EOF

say "upgraded"
apt install -y --no-install-recommends -o Dpkg::Options::=--force-confold "/root/${new##*/}"
[[ $(in_root dpkg-query -W -f '${Version}' surtidor) == 0.1.* ]] || fail "it is the old one still"
grep -q '^id = "station"' "$root/etc/surtidor/surtidor.toml" || fail "the configuration was overwritten"
alone "the data is gone" <<'EOF'
started
export SURTIDOR_SOCKET=/run/surtidor/control.sock
surtidor order show T-1 | grep -E '^amount\s+10\.50'
surtidor log verify
stopped
EOF

say "removed"
apt remove -y surtidor
[[ ! -e $root/usr/bin/surtidor ]] || fail "the program is there still"
[[ -s $root/var/lib/surtidor/surtidor.sqlite && -s $root/etc/surtidor/surtidor.toml ]] || fail "it took the data along"

say "purged, by nobody who said that the data may go"
apt install -y --no-install-recommends "/root/${new##*/}"
apt purge -y surtidor
grep -q "are kept" "$work/apt.log" || fail "it does not say that the data is kept"
[[ -s $root/var/lib/surtidor/surtidor.sqlite ]] || fail "it deleted the data unasked"
[[ ! -e $root/etc/surtidor/surtidor.toml ]] || fail "the configuration is there still"

say "purged, by somebody who did"
apt install -y --no-install-recommends "/root/${new##*/}"
in_root sh -c 'echo surtidor surtidor/delete-data boolean true | debconf-set-selections'
rm -f "$root/etc/surtidor/token"
apt purge -y surtidor
for path in var/lib/surtidor etc/surtidor run/surtidor usr/share/doc/surtidor usr/share/man/man1/surtidor.1.gz; do
  [[ ! -e $root/$path ]] || fail "/$path is there still"
done
if find "$root/etc" "$root/var/lib/systemd" -name '*surtidor*' | grep .; then fail "that is left"; fi

say "from an empty Debian to a first paid order, as the README says"
empty
cp "$new" "$root/root/"
commands=$(sed -n '/<!-- test:skip .*tests\/packages\/debian.sh/,/^```$/p' README.md | sed -n '/^```sh$/,/^```$/{//!p}')
[[ $(wc -l <<<"$commands") == 3 ]] || fail "the README shows other than three commands: $commands"
in_root bash -euc "cd /root; $commands" >"$work/first" 2>&1 || { tail -20 "$work/first"; fail "the README's commands"; }
tail -25 "$work/first"
grep -q order_paid "$work/first" || fail "nothing was paid"

say "done"
