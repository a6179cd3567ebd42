#!/usr/bin/env bash
# Builds surtidor as one file that needs nothing of the machine but its kernel, with musl in place of glibc:
#   deploy/static.sh [--profile PROFILE]
# It is target/x86_64-unknown-linux-musl/PROFILE/surtidor. Needs Debian's musl-tools, and Rust's library for musl:
#   rustup target add x86_64-unknown-linux-musl
# Where that cannot be had, RUST_LIBRARY names a folder with `library`, the sources of Rust's library of this very version,
# and `libunwind.a`; the library is built along then. Names are resolved by musl: /etc/hosts and the servers of
# /etc/resolv.conf, no NSS.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=release
if [[ ${1-} == --profile ]]; then profile=$2; fi
target=x86_64-unknown-linux-musl
build=(cargo build --quiet --locked --bin surtidor --profile "$profile" --target "$target")
# For SQLite and ring.
export CC_x86_64_unknown_linux_musl=musl-gcc

if [[ ! -d $(rustc --print sysroot)/lib/rustlib/$target ]]; then
  if [[ ! -d ${RUST_LIBRARY-}/library ]]; then
    echo "Rust's library for musl is missing: rustup target add $target" >&2
    exit 1
  fi
  # Only a nightly may do so, or who says that he knows. Debian's musl-gcc links no program that may lie anywhere.
  export RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT=$RUST_LIBRARY/library
  export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=musl-gcc
  export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C link-self-contained=no -C relocation-model=static -L native=$RUST_LIBRARY"
  build+=(-Zbuild-std=std,panic_unwind)
fi
"${build[@]}"
