# shellcheck shell=sh
# log.sh LINES FILE: the end of a log. One that does not exist yet is an empty one; one that cannot be read is an error.
[ -f "$2" ] && [ ! -L "$2" ] && exec tail -n "$1" -- "$2"
[ ! -e "$2" ] && exit
echo "$2 is not a file" >&2
exit 1
