# shellcheck shell=sh disable=SC2154
# own_session.sh: how each script begins that has a session to itself. What the login shell's start-up files said came before
# this line, on both outputs.
unset TMOUT
printf '\n%s start\n' "$lg_nonce"
printf '\n%s start\n' "$lg_nonce" >&2
