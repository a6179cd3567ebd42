#!/bin/sh
# The controller of a pump or a vending machine that sells through Surtidor: one sale, from filling to the receipt.
#
#     controller.sh SOCKET POS [AMOUNT TITLE]      controller.sh /run/surtidor/control.sock PUMP1 18525.50 "SUPER 23.45 L"
#
# It needs curl and jq. It is the same program for an unattended, an attended and an intent point of sale. A sale that was
# cut off is finished first; without AMOUNT nothing else is done. Ctrl-C is the machine's cancel button.
# Exit codes: 0 delivered, 1 refused by Surtidor, 2 usage, 3 not reached, 4 not paid, 5 paid and not delivered.

FILLING=1 RELEASING=1 # Seconds. Here stands the machine itself: its counter, its valve, its spiral.

# What the feed says of us, behind a line with the number of the last event that was heard and, if our order ended there,
# how. After its end nothing is heard: the next sale begins there.
HEAR='
  def ours: .external_reference == $ours;
  def ends: ours and (.type | IN("order_paid", "order_rejected", "order_expired", "order_canceled", "order_replaced"));
  def news: {payment_rejected: "the customer may try again, unless it ends", late_payment: "nothing is released for it"};
  (.events | map(ends) | index(true)) as $last
  | (if $last then .events[:$last + 1] else .events end) as $heard
  | (if $last then "\($heard[-1].seq) \($heard[-1].type)" else "\(.next)" end),
    ($heard[] | select(ours or .type == "late_payment") | "\(.type) \(.reason // "") \(news[.type] // "")")'

newline='
'

say() { printf '%s\n' "$*"; }

# end CODE WORDS…
end() {
  say "$2"
  exit "$1"
}

# A command that Ctrl-C does not reach: a terminal tells all that run, not us alone.
whole() (trap '' INT && exec "$@")

# Whether the button was pressed. It waits until we look, so it cuts no step in two.
canceled_within() {
  [ "$1" -eq 0 ] || sleep "$1"
  [ "$pressed" ] && pressed=''
}

# ask METHOD PATH [BODY]: makes a call until it is answered; $status and $answer say what was said. All calls here may be
# made again: Surtidor does nothing twice.
ask() {
  while :; do
    if reply=$(whole curl -qsS -m 30 --unix-socket "$socket" -X "$1" "http://surtidor/v1/$2" \
      -H 'Content-Type: application/json' ${3+--data-raw "$3"} -w '\n%{http_code}' 2>&1); then
      status=${reply##*"$newline"} answer=${reply%"$newline"*}
      [ "$status" = 503 ] || return 0 # That is `busy` and the like: it passes.
    fi
    say "asked again in a second: ${reply##*curl: }"
    ! canceled_within 1 || end 3 "left as it is: start me again to finish"
  done
}

# The same for what must not be refused.
must() {
  ask "$@"
  [ "$status" -lt 400 ] || refused
}

refused() {
  # What is refused for good is not asked again; but a full disk may take it yet, and who waits for money goes on waiting.
  [ "$status" -ge 500 ] || [ "$phase" = asked ] || keep idle
  end 1 "refused: $(answered '"\(.status) \(.code) \(.detail)"')"
}

# answered FILTER…: what jq makes of the answer.
answered() { printf '%s\n' "$answer" | whole jq -r "$@"; }

# keep PHASE: puts the sale on the disk, whole or not at all, before anything is done that depends on it.
keep() {
  phase=$1
  { printf '%s\n' "$phase" "$after" "$reference" "$order" >"$file.new" && whole sync "$file.new" &&
    whole mv "$file.new" "$file" && whole sync .; } || end 1 "the sale is not kept"
}

# begin AMOUNT TITLE
begin() {
  must PUT "pos/$pos/state" '{"state":"in_process","message":"Fuel is still flowing.","lease_seconds":30}'
  say "filling"
  if canceled_within $FILLING; then
    must PUT "pos/$pos/state" '{"state":"unavailable"}'
    exit 4
  fi
  # A reference is never used again. Clocks and counters may begin anew after a power cut, so it is random.
  reference=$(whole od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  order=$(whole jq -nc --arg reference "$reference" --arg amount "$1" --arg title "$2" \
    '{external_reference: $reference, amount: $amount, title: $title}')
  keep begun
}

# Listens until the order ends: was it paid? Whether a cancel came in time is heard here as well.
was_paid() {
  turn=0 ended=''
  until [ "$ended" ]; do
    [ $((turn % 5)) -ne 0 ] || must PUT "pos/$pos/lease" '{"seconds":30}' # We are alive.
    turn=$((turn + 1))
    ! canceled_within 0 || { ask DELETE "pos/$pos/order" && say "cancel $status $answer"; }
    ask GET "events?pos=$pos&after=$after&wait=2"
    case $status in
    200) answer=$(answered --arg ours "$reference" "$HEAR") ;;
    410) answer=0 ;; # Trimmed: from the oldest on.
    *) refused ;;
    esac
    { read -r after ended && cat; } <<EOF
$answer
EOF
  done
  [ "$ended" = order_paid ]
}

# Takes the sale up where it stands, and gives the exit code.
finish() {
  delivery='{"result":"dispensed"}' done=0
  if [ "$phase" = begun ]; then
    must PUT "pos/$pos/order" "$order"
    say "order $reference $(answered .status)"
    keep asked
  fi
  if [ "$phase" = asked ]; then
    was_paid || { keep idle && return 4; }
    keep releasing # From here on it is never released again.
    say "releasing $reference"
    whole sleep $RELEASING
    keep released
  elif [ "$phase" = releasing ]; then # We were cut off in between. A sensor would know what came out; we do not.
    delivery='{"result":"failed","reason":"The controller was cut off while the product was released."}' done=5
  fi
  must PUT "orders/$reference/delivery" "$delivery"
  must GET "orders/$reference/receipt?width=32"
  printf '%s' "$answer"
  keep idle
  return $done
}

[ $# -eq 2 ] || [ $# -eq 4 ] || end 2 "usage: controller.sh SOCKET POS [AMOUNT TITLE]"
socket=$1 pos=$2 file=$2.sale # Where it survives a power cut.
phase=idle after=0 reference='' order='' pressed='' code=0
trap 'pressed=1' INT
[ ! -e "$file" ] || { read -r phase && read -r after && read -r reference && read -r order; } <"$file"
[ "$phase" = idle ] || { finish || code=$?; }
if [ $# -eq 4 ]; then
  begin "$3" "$4"
  finish
  code=$?
fi
exit $code
