# shellcheck shell=sh disable=SC2154
# check.sh DIR CWD PROGRAM TOOL...: one line for each thing that a deployment needs. An empty PROGRAM is not looked for.
[ -r /proc/self/stat ] && [ -n "$lg_boot" ] && echo proc
lg_dir=$1
while [ ! -e "$lg_dir" ] && [ -n "${lg_dir%/*}" ]; do lg_dir=${lg_dir%/*}; done
[ -d "$lg_dir" ] && [ -w "$lg_dir" ] && echo dir
for lg_slot in blue green; do
    lg_ours "$1" "$1"/*.json "$1/$lg_slot".*.pid "$1/$lg_slot.log" "$1/$lg_slot.log.1" || break
done
cd "$2" 2>/dev/null && echo cwd
case $3 in
'') ;;
*/*) [ -f "$3" ] && [ -x "$3" ] && echo program ;;
*) command -v "$3" > /dev/null 2>&1 && echo program ;;
esac
shift 3
for lg_tool do
    command -v "$lg_tool" > /dev/null 2>&1 || printf 'missing %s\n' "$lg_tool"
done
exit 0
