# shellcheck shell=sh disable=SC2154
# one_offs.sh DIR: `NAME runs` or `NAME ended CODE` for each program that runs once; of one that has gone without a word
# nothing.
for lg_file in "$1"/hook.*.pid; do
    [ -e "$lg_file" ] || continue
    lg_prefix=${lg_file%.pid}
    lg_ours "$1" "$lg_file" "$lg_prefix.code" || exit 77
    lg_name=${lg_prefix##*/}
    lg_code=
    # Read before it is looked whether it lives: what ends in between has written by then.
    { IFS= read -r lg_code < "$lg_prefix.code"; } 2>/dev/null
    if [ -z "$lg_code" ] && lg_run "$lg_file" && lg_alive; then
        printf '%s runs\n' "$lg_name"
        continue
    fi
    [ -n "$lg_code" ] || { IFS= read -r lg_code < "$lg_prefix.code"; } 2>/dev/null
    [ -z "$lg_code" ] || printf '%s ended %s\n' "$lg_name" "$lg_code"
done
exit 0
