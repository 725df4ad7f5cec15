# shellcheck shell=sh
# connections.sh PROGRAM REMOTE…: how many connections to one of the addresses are open, written as /proc/net/tcp has them, in the
# network of each process called so: `open COUNT`. Without such a process nothing is said, for then nobody knows where
# its connections are. Several processes of one network see the same connections, which are told apart by their inodes.
seen=no
program=$1
shift
wanted=$*
for one in /proc/[0-9]*; do
    name=
    { read -r name <"$one/comm"; } 2>/dev/null
    [ "$name" = "$program" ] || continue
    [ -r "$one/net/tcp" ] || continue
    seen="$seen $one/net/tcp $one/net/tcp6"
done
[ "$seen" != no ] || exit 0
# A process may end meanwhile.
# shellcheck disable=SC2086
open=$(cat ${seen#no } 2>/dev/null |
    awk -v wanted=" $wanted " '($4 == "01" || $4 == "02") && index(wanted, " " $3 " ") { print $2, $3, $10 }' |
    sort -u | wc -l)
echo "open $((open))"
exit 0
