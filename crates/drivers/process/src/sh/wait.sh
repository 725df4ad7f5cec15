# shellcheck shell=sh disable=SC2154
# wait.sh: a function that stop.sh and end_one_off.sh begin with.

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

