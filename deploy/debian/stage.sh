#!/usr/bin/env bash
# Makes the files of the package that are not in the repository, with a surtidor that was built:
#   deploy/debian/stage.sh PROGRAM FOLDER
# Cargo.toml says which go into the package, and where.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
cd "$(dirname "$0")/../.."

rm -rf "$folder/man1" "$folder/man5"
"$program" man "$folder" >/dev/null
for shell in bash zsh fish; do
  "$program" completions "$shell" >"$folder/completions.$shell"
done

# What is linked into the program, and the notices that its licences ask to be handed on.
{
  echo "Crates in surtidor, with SQLite (public domain) in libsqlite3-sys, and Rust's own library (MIT or Apache-2.0)."
  crates=$(cargo tree --locked --package surtidor --edges normal --prefix none --no-dedupe --format '{p}|{l}' | sort -u | grep -v '^surtidor ')
  echo
  sed 's/ (proc-macro)//; s/|/: /' <<<"$crates"
  while read -r name version _; do
    for notice in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-${version#v}"/{LICEN[CS]E,COPYING,NOTICE,COPYRIGHT}*; do
      if [[ -f $notice ]]; then
        printf '\n=== %s %s: %s\n\n' "$name" "${version%%|*}" "${notice##*/}"
        cat "$notice"
      fi
    done
  done < <(sed 's/|/ /' <<<"$crates")
} | gzip -9n >"$folder/crates.gz"
gzip -9nc CHANGELOG.md >"$folder/changelog.gz"
