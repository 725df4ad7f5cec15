# shellcheck shell=sh disable=SC2012
# ours.sh: functions that other scripts begin with. `lg_me` is the uid of the user who acts; empty before it is known.
#
# `lg_ours FOLDER [FILE...]` succeeds when they are ours, or not there. Otherwise it reports the first that is not, as an
# error line that `Foreign::reported` reads, and fails.
# `lg_quick FOLDER FILE` is the same for a file that is only read, without starting a program in the usual case: whether
# others may write is then left to whoever writes.
#
# `ls` is asked for owner and mode, in the form that POSIX gives them; `stat` is none of POSIX's.

# lg_private UID GID: the group has no other member than the user, by the local files.
lg_private() {
    lg_owner='' lg_found=''
    while IFS=: read -r lg_n _lg_x lg_u lg_g _lg_r; do
        [ "$lg_g" = "$2" ] || continue
        [ "$lg_u" = "$1" ] || return 1
        [ -n "$lg_owner" ] || lg_owner=$lg_n
    done </etc/passwd || return 1
    [ -n "$lg_owner" ] || return 1
    while IFS=: read -r lg_n _lg_x lg_g lg_r; do
        [ "$lg_g" = "$2" ] || continue
        [ "$lg_n" = "$lg_owner" ] || return 1
        case $lg_r in '' | "$lg_owner") lg_found=1 ;; *) return 1 ;; esac
    done </etc/group || return 1
    [ -n "$lg_found" ]
}

lg_foreign() {
    printf 'lockgate-not-ours %s\n' "$*" >&2
    return 1
}

# lg_judge KIND: reads `ls -ldn`; KIND is the letter that each must begin with, or empty for a folder `…/.` and files.
lg_judge() {
    while read -r lg_mode _lg_links lg_uid lg_gid _lg_size _lg_month _lg_day _lg_time lg_name; do
        lg_want=$1
        case $lg_mode in l*) lg_name=${lg_name%%" -> "*} ;; esac
        [ -n "$lg_want" ] || case $lg_name in */.) lg_want=d ;; *) lg_want=- ;; esac
        lg_told="$lg_mode $lg_uid $lg_me $lg_name"
        case $lg_mode in "$lg_want"*) ;; *) lg_foreign kind "$lg_told"; return 1 ;; esac
        case $lg_uid in 0 | "$lg_me" | "$lg_sudo") ;; *) lg_foreign owner "$lg_told"; return 1 ;; esac
        case $lg_mode in
        l*) ;;
        ????????w*) lg_foreign all "$lg_told"; return 1 ;;
        ?????w*) lg_private "$lg_uid" "$lg_gid" || { lg_foreign group "$lg_told"; return 1; } ;;
        esac
    done
}

lg_ours() {
    [ -n "$lg_me" ] || lg_me=$(id -u) || return 1
    lg_sudo=0
    [ "$lg_me" != 0 ] || lg_sudo=${SUDO_UID:-0}
    lg_at=$1
    shift
    [ ! -L "$lg_at" ] || LC_ALL=C ls -ldn -- "$lg_at" 2>/dev/null | lg_judge l || return 1
    LC_ALL=C ls -ldn -- "$lg_at/." "$@" 2>/dev/null | lg_judge ''
}

lg_quick() {
    {
        [ -O "$1" ] && [ ! -L "$1" ] && [ ! -L "$2" ] && { [ ! -e "$2" ] || { [ -f "$2" ] && [ -O "$2" ]; }; }
    } 2>/dev/null || lg_ours "$@"
}
