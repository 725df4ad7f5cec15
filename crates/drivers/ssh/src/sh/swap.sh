# shellcheck shell=sh disable=SC2154
# As `write`, under flock(2) and only when the file's digest is the one expected. The input has come and lies on the disk
# before the lock is taken, so neither a slow network nor a slow disk nor an orchestrator that is stopped holds it.
# `-w` and `-E` are util-linux's: busybox is asked again and again.
lg_swap() {
    # shellcheck disable=SC2034 # lg_receive's
    lg_mode=''
    lg_receive 022
    command -v flock >/dev/null || {
        echo 'flock: command not found' >&2
        exit 1
    }
    [ -e "$lg_path.lock" ] || (umask 077 && : >>"$lg_path.lock") || exit 1
    exec 9>>"$lg_path.lock" || exit 1
    flock -x -w "$lg_wait" -E 75 9 2>/dev/null
    case $? in
    0) ;;
    75)
        lg_holder
        exit 75
        ;;
    *)
        lg_try=0
        until flock -x -n 9; do
            lg_try=$((lg_try + 1))
            [ "$lg_try" -lt $((lg_wait * 50)) ] || {
                lg_holder
                exit 75
            }
            sleep 0.02
        done
        ;;
    esac
    lg_seen=none
    if [ -e "$lg_path" ]; then
        lg_seen=$(sha256sum <"$lg_path") || exit 1
        lg_seen=${lg_seen%% *}
    fi
    [ "$lg_seen" = "$lg_expected" ] || exit 76
    lg_settle
}

# Who holds the lock, as `lockgate-locked-by` and a process id, its state and its program's name, each empty where it is
# not known.
lg_holder() {
    [ -r /proc/locks ] || return 0
    # shellcheck disable=SC2046 # the number, and the name behind it
    set -- $(ls -di -- "$lg_path.lock" 2>/dev/null)
    while read -r _lg_n lg_kind _lg_x _lg_m lg_pid lg_at _lg_rest; do
        case "$lg_kind $lg_at" in "FLOCK "*":$1") ;; *) continue ;; esac
        [ "$lg_pid" -gt 0 ] 2>/dev/null || continue
        lg_state='' lg_program=''
        while read -r lg_word lg_value _lg_rest; do
            case $lg_word in State:) lg_state=$lg_value ;; Name:) lg_program=$lg_value ;; esac
        done 2>/dev/null <"/proc/$lg_pid/status" || :
        printf 'lockgate-locked-by %s %s %s\n' "$lg_pid" "$lg_state" "$lg_program" >&2
        return
    done </proc/locks
}
