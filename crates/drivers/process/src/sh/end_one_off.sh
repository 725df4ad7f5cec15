# shellcheck shell=sh disable=SC2154
# end_one_off.sh PREFIX TOKEN GRACE_MS KILL_MS: ends the program where it runs, and removes what is left of it. Prints
# `survives PID` where SIGKILL was not enough.
lg_ours "${1%/*}" "$1.pid" "$1.log" "$1.code" || exit 77
if lg_run "$1.pid"; then
    if lg_alive; then
        kill -TERM "-$lg_pid" 2>/dev/null
        lg_wait "$3" || { kill -KILL "-$lg_pid" 2>/dev/null; lg_wait "$4" || { echo "survives $lg_pid"; exit 0; }; }
    else
        lg_sweep "$2" $(($4 / 6)) || exit 0
    fi
fi
rm -f -- "$1.pid" "$1.log" "$1.code" "$1.code.new"
