# shellcheck shell=sh disable=SC2154
# stop.sh PREFIX GRACE_MS KILL_MS: ends every run of the slot. Prints `killed PID` when SIGTERM was not enough,
# `refused PID` when it may not be signalled, `survives PID` when SIGKILL was not enough either. The pid file of a run
# of which nothing is left says `ended`, so that the next start need not look for it.

# Waits until the group is empty, at most $1 ms: often at first, then every 50 ms.
lg_wait() {
    lg_budget=$1 lg_nap=0.005 lg_cost=6 lg_naps=0
    while :; do
        # The group outlives its leader while workers finish; the scan for them comes only after the leader is gone.
        if ! lg_alive; then
            lg_members
            [ -n "$lg_left" ] || return 0
        fi
        [ "$lg_budget" -gt 0 ] || return 1
        sleep "$lg_nap"
        lg_budget=$((lg_budget - lg_cost)) lg_naps=$((lg_naps + 1))
        [ "$lg_naps" -ne 40 ] || lg_nap=0.05 lg_cost=52
    done
}

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
