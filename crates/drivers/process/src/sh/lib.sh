# shellcheck shell=sh
# Shared by the other scripts. POSIX sh, and builtins wherever it can be helped: a fork costs a millisecond.
# Names start with lg_, for a variable that is in the service's environment would be passed on changed.

{ IFS= read -r lg_boot < /proc/sys/kernel/random/boot_id; } 2>/dev/null || lg_boot=

# A file that may be read and written without waiting or being led elsewhere, or none.
lg_plain() { [ ! -L "$1" ] && { [ -f "$1" ] || [ ! -e "$1" ]; }; }

# What Lockgate wrote about the slots with this PREFIX: all of it ours, or the script ends and says which is not.
lg_mine() {
    lg_ours "${1%/*}" "${1%/*}"/*.json "$1".*.pid "$1.log" "$1.log.1" || exit 77
}

# A process that can be signalled: 1 and 0 and what is negative would stand for many others. Linux has at most 4194304.
lg_number() { case $1 in '' | *[!0-9]* | 0* | 1 | ????????*) return 1 ;; esac; }

# Fields of /proc/PID/stat behind the command's name, which may hold blanks, brackets and line ends.
lg_fields() { lg_state=$1; shift 19; lg_began=$1; }

# lg_look PID: sets lg_state, lg_began; fails when there is no such process.
lg_look() {
    lg_text=
    { while IFS= read -r lg_line; do lg_text="$lg_text$lg_line "; done < "/proc/$1/stat"; } 2>/dev/null || return 1
    [ -n "$lg_text" ] || return 1
    # shellcheck disable=SC2086 # a word for each field
    lg_fields ${lg_text##*") "}
}

# lg_run FILE: sets lg_pid and lg_born to what the file names; fails unless that was on this boot.
lg_run() {
    lg_pid='' lg_born='' lg_on=''
    lg_plain "$1" || return 1
    { read -r lg_pid lg_born lg_on < "$1"; } 2>/dev/null || return 1
    lg_number "$lg_pid" && [ "$lg_on" = "$lg_boot" ]
}

# The very process of lg_run, not a later one with its number, and not a zombie.
lg_alive() {
    lg_look "$lg_pid" && [ "$lg_began" = "$lg_born" ] || return 1
    case $lg_state in Z | X) return 1 ;; esac
}

# Sets lg_left to the processes in lg_pid's group that are not zombies. A group of zombies still takes signals, where
# nobody collects them, so asking the kernel is not enough; one grep is twenty times as fast as reading here.
lg_members() {
    lg_left=
    kill "-0" "-$lg_pid" 2>/dev/null || return 0
    # shellcheck disable=SC2013 # such a path has no blanks
    for lg_entry in $(grep -l -s -E "\\) [^ZX] [0-9]+ $lg_pid " /proc/[0-9]*/stat); do
        lg_entry=${lg_entry#/proc/}
        lg_left="$lg_left ${lg_entry%/stat}"
    done
}

# lg_sweep TOKEN NAPS: the leader is gone, so its number proves nothing: only processes that carry the run's token are
# its workers. Fails when one survives NAPS of 5 ms.
lg_sweep() {
    lg_members
    lg_mine=
    for lg_one in $lg_left; do
        grep -q -a -F "LOCKGATE_TOKEN=$1" "/proc/$lg_one/environ" 2>/dev/null || continue
        kill -KILL "$lg_one" && lg_mine="$lg_mine $lg_one"
    done
    lg_naps=0
    for lg_one in $lg_mine; do
        while lg_look "$lg_one" && [ "$lg_state" != Z ]; do
            [ "$lg_naps" -lt "$2" ] || { echo "survives $lg_one" && return 1; }
            sleep 0.005
            lg_naps=$((lg_naps + 1))
        done
    done
}
