# shellcheck shell=bash
# CI's side. Sourced by `run`, which sets $WORK and $CALLS (the endpoint's URL).

# A call waits for the end of its deployment.
readonly CALL_SECONDS_MAX=120

# call SHA [CURL_OPTION…]: a call signed with $WEBHOOK_SECRET, at this time, so that it is another one than any before. Sets STATUS; the
# body is in $WORK/answer, the head in $WORK/head.
call() {
  local body
  body="{\"image_sha\":\"$1\",\"sent_at\":\"$(date -u +%FT%T.%3NZ)\"}"
  shift
  call_with "$WEBHOOK_SECRET" "$body" "$@"
}

# call_with SECRET BODY [CURL_OPTION…]
call_with() {
  local signature
  signature=$(printf %s "$2" | openssl dgst -sha256 -hmac "$1" | sed 's/.* //')
  post "$WORK/answer" "$WORK/head" "$2" -H "X-Hub-Signature-256: sha256=$signature" "${@:3}"
}

# post ANSWER HEAD BODY [CURL_OPTION…]
post() {
  STATUS=$(curl -s --cacert "$WORK/ca.pem" -o "$1" -D "$2" -w '%{http_code}' --max-time "$CALL_SECONDS_MAX" \
    -H "Content-Type: application/json" --data-binary "$3" "${@:4}" "$CALLS")
}

# answers STATUS [JQ_FILTER WANTED]: what the last call came to.
answers() {
  [ "$STATUS" = "$1" ] || { cat "$WORK/head" "$WORK/answer" >&2; fail "wanted $1, was answered $STATUS"; }
  [ $# -lt 3 ] || assert_eq "the answer's $2" "$3" "$(jq -r "$2" "$WORK/answer")"
}

# location: of the last answer, as a URL.
location() {
  local path
  path=$(sed -n 's/^[Ll]ocation: *\([^[:space:]]*\).*/\1/p' "$WORK/head")
  [ -n "$path" ] || { cat "$WORK/head" >&2; fail "no Location was answered"; }
  echo "${CALLS%/deploy}$path"
}

# asked URL: GET; sets STATUS.
asked() { STATUS=$(curl -s --cacert "$WORK/ca.pem" -o "$WORK/answer" -D "$WORK/head" -w '%{http_code}' --max-time 10 "$1"); }

is_over() { asked "$1" && [ "$STATUS" != 202 ]; }
