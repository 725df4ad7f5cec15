# sockets.sh [all | PREFIX TOKEN]: what listens (`listen PORT_HEX INODE`), and which sockets who holds (`fd PID INODE`):
# nobody's, every process's that may be looked at, or those of the slot's processes.
while read -r lg_1 lg_local lg_3 lg_st lg_5 lg_6 lg_7 lg_8 lg_9 lg_inode lg_rest; do
    [ "$lg_st" != 0A ] || echo "listen ${lg_local##*:} $lg_inode"
done <<END
$(grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
END
lg_fds() {
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
