#!/usr/bin/env bash
# Tries random inputs on every target, or on those named, so many seconds each: fuzz/run.sh [SECONDS [TARGET…]], 20 if
# left out. It begins with fuzz/corpus, keeps what it finds in target/fuzz, and needs no more than cargo and a C++ compiler.
# An input that breaks a law is left in target/fuzz/broken: mend what it broke, and keep it in fuzz/corpus as a test.
# `MINIMISE=1 fuzz/run.sh` then puts what was found into fuzz/corpus, as few small inputs as reach all that was reached;
# those with a name of their own stay. `cargo fuzz run TARGET` works too.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(poll order notification payment proxy)
work=$PWD/target/fuzz
host=$(rustc --print host-tuple)

# What cargo-fuzz gives the compiler without a sanitizer, which safe code has no use for: all of it is in stable Rust.
# With a target named, build scripts are left as they are.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target-dir "$work" --target "$host"

for target in "${targets[@]}"; do
  corpus=fuzz/corpus/$target found=$work/found/$target broken=$work/broken/$target
  mkdir -p "$found" "$broken"
  program=$work/$host/release/$target
  limits=(-max_len=8192 -timeout=5 -rss_limit_mb=1024)
  if [[ ${MINIMISE-} ]]; then
    fewer=$(mktemp -d) counters=0
    # A poll's code is so short that it also matters how often a place of it is reached.
    [[ $target != poll ]] || counters=1
    "$program" "${limits[@]}" -max_len=1024 -set_cover_merge=1 -use_counters="$counters" "$fewer" "$corpus" "$found" \
      2>&1 | tail -1
    find "$corpus" -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
    mv "$fewer"/* "$corpus" && rmdir "$fewer"
    continue
  fi
  echo "$target: $seconds s"
  "$program" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$broken/" "$found" "$corpus" \
    >"$broken.log" 2>&1 || {
    grep -m1 -A4 panicked "$broken.log" || tail -20 "$broken.log"
    grep "Test unit written" "$broken.log"
    exit 1
  }
  grep -E "number_of_executed_units|cov:" "$broken.log" | tail -2
done
