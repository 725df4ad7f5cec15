# shellcheck shell=sh
# make.sh [PATH OWNER MODE]...: makes folders, and gives them their owner and mode; `-` leaves one as it is. What this user
# may not do is done by sudo, where that asks for no password. What is there already is changed in nothing else.
LC_ALL=C
export LC_ALL
umask 022
lg_power=unasked

lg_sudo() {
    if [ "$lg_power" = unasked ]; then
        lg_power=none
        if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
            lg_power=sudo
        fi
    fi
    [ "$lg_power" = sudo ]
}

# As this user, else by sudo; what is said is said by whoever could do the most.
lg_do() {
    "$@" 2>/dev/null && return 0
    if lg_sudo; then sudo -n -- "$@"; else "$@"; fi
}

while [ $# -gt 2 ]; do
    lg_path=$1 lg_owner=$2 lg_mode=$3
    shift 3
    if [ ! -d "$lg_path" ]; then
        lg_do mkdir -p -- "$lg_path" || exit 1
        [ -O "$lg_path" ] || lg_do chown "$(id -u):$(id -g)" "$lg_path" || exit 1
    fi
    [ "$lg_mode" = - ] || lg_do chmod "$lg_mode" "$lg_path" || exit 1
    [ "$lg_owner" = - ] || lg_do chown "$lg_owner" "$lg_path" || exit 1
done
