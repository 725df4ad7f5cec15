# shellcheck shell=sh disable=SC2154
# stop.sh PREFIX GRACE_MS KILL_MS: ends every run of the slot. Prints `killed PID` when SIGTERM was not enough,
# `refused PID` when it may not be signalled, `survives PID` when SIGKILL was not enough either. The pid file of a run
# of which nothing is left says `ended`, so that the next start need not look for it.

lg_end() {
    if ! kill -TERM "-$lg_pid" 2>/dev/null && lg_alive; then
        echo "refused $lg_pid"
        return 1
    fi
    lg_wait "$1" && return 0
    echo "killed $lg_pid"
    kill -KILL "-$lg_pid" 2>/dev/null
    lg_wait "$2" && return 0
    echo "survives $lg_pid"
    return 1
}

lg_mine "$1"
for lg_file in "$1".*.pid; do
    if [ ! -e "$lg_file" ] || ! lg_run "$lg_file"; then continue; fi
    lg_token=${lg_file#"$1."}
    if lg_alive; then lg_end "$2" "$3"; else lg_sweep "${lg_token%.pid}" $(($3 / 6)); fi && echo ended > "$lg_file"
done
exit 0
