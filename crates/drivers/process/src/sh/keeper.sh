# shellcheck shell=sh disable=SC2154
# keeper.sh, after who.sh: says who it is, runs the program to its end, and writes down what it ended with. Its pid file is
# made once: of two who begin the same, one does.
LOCKGATE_TOKEN=$lg_token
export LOCKGATE_TOKEN
(umask 077 && set -C && echo "$$ $lg_born $lg_boot" > "$lg_prefix.pid") 2>/dev/null || lg_fail 'it was begun already, or its pid file cannot be written'
lg_started
"$@"
lg_code=$?
(umask 077 && echo "$lg_code" > "$lg_prefix.code.new" && mv -f -- "$lg_prefix.code.new" "$lg_prefix.code")
