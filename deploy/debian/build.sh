#!/usr/bin/env bash
# Builds the Debian package into target/debian; needs `cargo install cargo-deb`.
#   deploy/debian/build.sh [--program FILE] [ARGUMENTS OF cargo deb]
# With --program the package has that one, which was built before: the static one, or a test's.
set -euo pipefail
cd "$(dirname "$0")/../.."
# The same commit makes the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
target=${CARGO_TARGET_DIR:-target}
profile=release
if [[ ${1-} == --program ]]; then
  # cargo-deb takes what lies in the folder of a profile.
  profile=given
  mkdir -p "$target/$profile"
  cp "$2" "$target/$profile/surtidor"
  shift 2
else
  cargo build --quiet --locked --release --bin surtidor
fi
deploy/debian/stage.sh "$target/$profile/surtidor" target/deb
cargo deb --quiet --locked --no-build --strip --profile "$profile" --output target/debian/ "$@"
