#!/usr/bin/env bash
# Runs every check of the project, on a fresh Debian 12 with Rust: tests/run.sh, or tests/run.sh --all with the long runs.
# It installs what it needs where it may (as root, or with sudo that asks nothing), else it says what is missing.
# Each step has a time limit, and the next ones run even if it fails. The last line tells how many passed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

all=""
case "${1-}" in
"") ;;
--all) all=1 ;;
*)
  echo "usage: tests/run.sh [--all]" >&2
  exit 2
  ;;
esac

passed=0 failed=() skipped=() began=$SECONDS
tools=target/tools
mkdir -p "$tools"
# Debian keeps nginx and HAProxy in /usr/sbin, which is not in every user's path.
export PATH="$PWD/$tools/usr/bin:$PATH:/usr/sbin"

# step NAME SECONDS COMMAND…: one check, and how long it took.
step() {
  local name=$1 limit=$2 from=$SECONDS status=0
  shift 2
  printf '\n=== %s\n' "$name"
  timeout --kill-after=10 "$limit" "$@" || status=$?
  if ((status == 0)); then
    passed=$((passed + 1))
    printf -- '--- %s: passed in %d s\n' "$name" $((SECONDS - from))
  else
    failed+=("$name")
    ((status == 124)) && echo "stopped: it took more than $limit s"
    printf -- '--- %s: FAILED (%d) after %d s\n' "$name" "$status" $((SECONDS - from))
  fi
}

# skip NAME WHY
skip() {
  printf '\n=== %s\n--- %s: skipped: %s\n' "$1" "$1" "$2"
  skipped+=("$1")
}

has() { command -v "$1" >/dev/null; }


# --- what is needed

as_root=()
if ((EUID != 0)); then as_root=(sudo -n); fi
may_install() { has apt-get && { ((EUID == 0)) || sudo -n true 2>/dev/null; }; }

# Program and Debian package.
needed=(cc:gcc c++:g++ curl:curl strace:strace mount:mount unshare:util-linux systemd-analyze:systemd)
needed+=(openssl:openssl valgrind:valgrind python3:python3 npm:npm jq:jq chromium:chromium faketime:faketime)
needed+=(mandoc:mandoc lexgrog:man-db zsh:zsh fish:fish)
if [[ $all ]]; then
  needed+=(go:golang-go debootstrap:debootstrap lintian:lintian ip:iproute2 musl-gcc:musl-tools podman:podman runc:runc)
fi
# A package of a server starts it, where there is an init. Who has one decides that for himself.
proxies=(nginx:nginx haproxy:haproxy caddy:caddy)
if [[ -d /run/systemd/system ]]; then
  for pair in "${proxies[@]}"; do
    has "${pair%%:*}" || echo "${pair%%:*} is missing: NOTHING IS TESTED BEHIND IT. Installing it would also start it"
  done
else
  needed+=("${proxies[@]}")
fi
packages=()
for pair in "${needed[@]}"; do
  has "${pair%%:*}" || packages+=("${pair##*:}")
done

install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    timeout 300 apt-get install -y -q --no-install-recommends "$@" >"$tools/install.log" 2>&1 || tail -5 "$tools/install.log"
}

# Prometheus and its checker, without installing the service that would start.
fetch_prometheus() {
  (
    cd "$tools" && timeout 300 apt-get download -q prometheus && timeout 60 dpkg-deb --fsys-tarfile prometheus_*.deb |
      tar -x ./usr/bin/promtool ./usr/bin/prometheus
  ) >"$tools/prometheus.log" 2>&1 || tail -5 "$tools/prometheus.log"
  rm -f "$tools"/prometheus_*.deb
}

# Mercado Pago's own SDKs: their validators must take the signatures of our sandbox.
fetch_sdks() {
  local version=3.6
  if has python3 && [[ ! -d $tools/venv/sdk ]]; then
    # Debian splits what `venv` needs off from Python.
    python3 -c 'import ensurepip' 2>/dev/null || { may_install && install python3-venv; }
    rm -rf "$tools/venv"
    timeout 120 python3 -m venv "$tools/venv" && timeout 300 "$tools/venv/bin/pip" install -q "mercadopago~=$version" &&
      mkdir "$tools/venv/sdk"
  fi
  if has npm && [[ ! -d $tools/npm/node_modules/mercadopago ]]; then
    mkdir -p "$tools/npm"
    (cd "$tools/npm" && timeout 300 npm install --silent --no-audit --no-fund --prefix . "mercadopago@~$version")
  fi
}

# Kubernetes' own schemas.
fetch_schemas() {
  if [[ -d $tools/venv/sdk && ! -d $tools/venv/schemas ]]; then
    timeout 300 "$tools/venv/bin/pip" install -q "kubernetes-validate~=1.37" && mkdir "$tools/venv/schemas"
  fi
}

# What looks at the document of the control API, and drives a server by it.
fetch_document_tools() {
  local version=4.32.5 pip=$tools/venv/bin/pip
  if [[ -x $pip && ! -d $tools/venv/document-$version ]]; then
    timeout 300 "$pip" install -q "schemathesis==$version" "openapi-spec-validator~=0.9.0" &&
      mkdir "$tools/venv/document-$version"
  fi
}

# What drives the demo's page, at the versions of its lock file.
fetch_browser_tests() {
  if has npm && [[ ! tests/browser/node_modules/.package-lock.json -nt tests/browser/package-lock.json ]]; then
    (cd tests/browser && timeout 300 npm ci --silent --no-audit --no-fund && touch node_modules/.package-lock.json)
  fi
}

printf '=== tools\n'
has_prometheus() { has promtool && has prometheus; }
if ! has_prometheus || ((${#packages[@]})); then
  if may_install; then
    echo "fetching: ${packages[*]} prometheus"
    "${as_root[@]}" timeout 300 apt-get update -q >"$tools/update.log" 2>&1 || tail -5 "$tools/update.log"
    ((${#packages[@]})) && install "${packages[@]}"
    has_prometheus || fetch_prometheus
  else
    echo "missing, and this user may not install: ${packages[*]} $(has_prometheus || echo prometheus)"
  fi
fi
fetch_sdks >"$tools/sdks.log" 2>&1 || tail -5 "$tools/sdks.log"
fetch_schemas >"$tools/schemas.log" 2>&1 || tail -5 "$tools/schemas.log"
fetch_document_tools >"$tools/document.log" 2>&1 || tail -5 "$tools/document.log"
fetch_browser_tests >"$tools/browser.log" 2>&1 || tail -5 "$tools/browser.log"
for program in cargo cc curl; do
  if ! has "$program"; then
    echo "$program is missing, and nothing can be tested without it. For cargo see https://rustup.rs" >&2
    exit 1
  fi
done
cargo --version

# --- the code

# Metrics of a running server, as Prometheus' own checker sees them: after a push and a poll, so that all kinds are there.
metrics() {
  local folder pid out line poll admin
  folder=$(mktemp -d)
  exec {out}< <(exec target/debug/surtidor serve --data-dir "$folder/data" --socket "$folder/socket" \
    --poll-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0)
  pid=$!
  trap "kill $pid; wait $pid || true; rm -rf '$folder'" EXIT
  # It tells its addresses once they answer.
  while read -r -t 30 -u "$out" line && [[ $line != "Try it"* ]]; do
    case $line in
    polls*) poll=${line##* } ;;
    admin*) admin=${line##* } ;;
    esac
  done
  local call=(curl -fsS --max-time 10)
  local put=("${call[@]}" -o /dev/null --unix-socket "$folder/socket" -X PUT)
  "${put[@]}" http://s/v1/pos/PUMP1 -d '{"keys":{"locationId":"1","positionId":"1"}}'
  "${put[@]}" http://s/v1/pos/PUMP1/order -d '{"amount":"1.50","title":"SUPER"}'
  "${call[@]}" -o /dev/null "${poll%%\?*}?locationId=1&positionId=1"
  "${call[@]}" "$admin" >"$folder/metrics"
  echo "$(grep -c '^# TYPE' "$folder/metrics") metrics"
  promtool check metrics <"$folder/metrics"
}

# The units as they are shipped, but for the program, which is not installed here.
units() {
  local folder unit
  folder=$(mktemp -d)
  trap "rm -rf '$folder'" EXIT
  for unit in deploy/*.service deploy/*.socket; do
    sed "s|/usr/bin/surtidor|$PWD/target/debug/surtidor|" "$unit" >"$folder/${unit#deploy/}"
  done
  # A key that it does not know is only a warning to systemd, and a gap to us.
  systemd-analyze verify --man=no "$folder"/*.service "$folder"/*.socket 2>&1 | tee "$folder/said"
  if grep surtidor "$folder/said"; then return 1; fi
  # In tenths, of 10.0 for a unit that restricts nothing.
  systemd-analyze security --offline=true --threshold=12 "$folder/surtidor.service" | tail -1
}

# The release build keeps one core busy for minutes, most of them alone: it is made beside what follows, and gives way to it.
release_build=""
if has valgrind && has strace; then
  nice -n 19 cargo bench --quiet --locked --no-run --bench poll_cost >"$tools/bench.log" 2>&1 &
  release_build=$!
fi

# Most of the tests of the whole server wait for it, not for a processor. The long runs do need one.
if [[ ! $all ]]; then export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}; fi

step "format" 60 cargo fmt --check
step "clippy" 900 cargo clippy --quiet --locked --all-targets -- -D warnings
if [[ $all ]]; then
  step "tests, with the long runs" 5400 env SURTIDOR_TESTS=all cargo test --locked
else
  step "tests" 1200 cargo test --locked
fi
step "docs" 600 env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --document-private-items
if has cargo-deny; then
  step "crates: bans, licences, sources" 120 cargo deny --offline check bans licenses sources
else
  skip "crates: bans, licences, sources" "cargo-deny is not installed"
fi

# The demo and the operator's page as their visitors see them. Their pictures are in target/browser.
if has chromium && has node && [[ -d tests/browser/node_modules/playwright-core ]]; then
  step "the pages in a browser" 600 node --test --test-concurrency=2 tests/browser/{demo,looks,operator}.test.mjs
else
  skip "the pages in a browser" "chromium, node or tests/browser/node_modules is missing: NOTHING OF THEM IS TESTED"
fi

# --- how it is run

if has promtool; then
  step "metrics" 60 bash -c "$(declare -f metrics); set -euo pipefail; metrics"
  step "scrape sample" 30 promtool check config deploy/prometheus.yml
  step "alerts" 120 promtool test rules deploy/rules.test.yml
else
  skip "metrics, scrape sample, alerts" "promtool is missing: Debian's package is prometheus"
fi
if has systemd-analyze; then
  step "units" 60 bash -c "$(declare -f units); set -euo pipefail; units"
else
  skip "units" "systemd-analyze is missing: Debian's package is systemd"
fi

# --- how it is installed

if [[ -d $tools/venv/schemas ]]; then
  step "Kubernetes manifest" 60 "$tools/venv/bin/python" tests/packages/kubernetes.py target/debug/surtidor
else
  skip "Kubernetes manifest" "PyPI's kubernetes-validate is missing"
fi
if [[ $all ]]; then
  if ((EUID == 0)) && has debootstrap && has lintian; then
    has "$PWD/$tools/bin/cargo-deb" || step "cargo-deb" 900 cargo install --quiet --locked --root "$tools" cargo-deb@3.8.0
    step "Debian package" 900 tests/packages/debian.sh target/debug/surtidor
  else
    skip "Debian package" "this is not root, or debootstrap or lintian is missing: NOTHING OF THE PACKAGE IS TESTED"
  fi
  if ((EUID == 0)) && has musl-gcc && [[ -d $tools/venv/schemas ]]; then
    step "static program" 1800 tests/packages/static.sh
  else
    skip "static program" "this is not root, or musl-tools is missing: NOTHING OF THE STATIC PROGRAM IS TESTED"
  fi
fi

# --- what a poll costs

if [[ $release_build ]]; then
  wait "$release_build" || tail -5 "$tools/bench.log"
  step "poll cost" 900 cargo bench --quiet --locked --bench poll_cost
else
  skip "poll cost" "valgrind or strace is missing"
fi
if [[ $all ]]; then
  step "poll throughput" 900 cargo bench --quiet --locked --bench poll_throughput
  if has nginx; then
    step "built-in TLS beside nginx" 900 cargo bench --quiet --locked --bench tls
  else
    skip "built-in TLS beside nginx" "nginx is missing"
  fi
  step "push latency" 900 cargo bench --quiet --locked --bench push_latency
  step "payments: latency, and a flood of forged notifications" 900 cargo bench --quiet --locked --bench payments
fi

# --- inputs that nobody thought of

if [[ $all ]]; then
  if has c++; then
    step "fuzzing, 20 s a target" 1200 fuzz/run.sh 20
  else
    skip "fuzzing" "a C++ compiler is missing: Debian's package is g++"
  fi
fi

printf '\n%d s. Steps: %d passed, %d failed, %d skipped\n' \
  $((SECONDS - began)) "$passed" "${#failed[@]}" "${#skipped[@]}"
((${#failed[@]})) && printf 'failed: %s\n' "${failed[@]}"
((${#failed[@]} == 0))
