# shellcheck shell=sh disable=SC2154
# sockets.sh [all | PREFIX TOKEN]: what listens (`listen PORT_HEX INODE`), and which sockets who holds (`fd PID INODE`):
# nobody's, every process's that may be looked at, or those of the slot's processes.
while read -r _lg_1 lg_local _lg_3 lg_st _lg_5 _lg_6 _lg_7 _lg_8 _lg_9 lg_inode _lg_rest; do
    [ "$lg_st" != 0A ] || echo "listen ${lg_local##*:} $lg_inode"
done <<END
$(grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
END
lg_fds() {
    # shellcheck disable=SC2012 # where its links lead to
    ls -l "/proc/$1/fd" 2>/dev/null | while read -r lg_entry; do
        case $lg_entry in *'socket:['*) lg_inode=${lg_entry##*"socket:["} && echo "fd $1 ${lg_inode%]}" ;; esac
    done
}
if [ $# -eq 1 ]; then
    for lg_entry in /proc/[0-9]*; do
        lg_fds "${lg_entry#/proc/}"
    done
elif [ $# -eq 2 ]; then
    lg_run "$1.$2.pid" && lg_alive || exit 0
    lg_members
    for lg_one in $lg_left; do
        lg_fds "$lg_one"
    done
fi
exit 0
