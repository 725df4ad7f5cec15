# shellcheck shell=sh disable=SC2034,SC2154
# upload.sh: what is sent until its end becomes the file's content, whole or not at all, after the functions of ours.sh
# and shared.sh.
#
# The input is a line of assignments, then the content, then `lg_tail` bytes: the nonce, the content's SHA-256 and its
# size, with blanks around. An input that was cut off does not end so, and nothing is done with it. The content is not
# framed, because no program of POSIX takes a number of bytes from a pipe and not one more.
LC_ALL=C
export LC_ALL
IFS= read -r lg_line || exit 99
eval "$lg_line"
lg_me=$(id -u) lg_strict=1
lg_begin 077
cat >"$lg_new" || exit 1
# What is no end of ours may be anything, NUL bytes among it.
set -f
# shellcheck disable=SC2046
set -- $(tail -c "$lg_tail" <"$lg_new" 2>/dev/null | tr -cd '0-9a-f \n')
[ "$1" = "$lg_nonce" ] && [ "$#" -eq 3 ] || exit 99
lg_sum=$2 lg_size=$3
lg_sent=$(wc -c <"$lg_new")
# Cut at its own size; nothing is copied.
dd if=/dev/null of="$lg_new" bs=1 seek="$lg_size" count=0 2>/dev/null || exit 1
lg_seen=$(sha256sum <"$lg_new") || exit 1
lg_seen=${lg_seen%% *}
if [ $((lg_sent - lg_tail)) -ne "$lg_size" ] || [ "$lg_seen" != "$lg_sum" ]; then
    echo "lockgate-arrived $((lg_sent - lg_tail)) $lg_seen" >&2
    exit 98
fi
chmod "$lg_mode" "$lg_new" || exit 1
sync "$lg_new" 2>/dev/null || sync
lg_settle
