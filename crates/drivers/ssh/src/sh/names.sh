# shellcheck shell=sh disable=SC2154
# Says the names of files, each on a line of its own.
lg_names() {
    [ -d "$lg_path" ] || exit 0
    unset CDPATH
    cd -- "$lg_path/." || exit 1
    for lg_one in "$lg_prefix"*; do
        case $lg_one in *[[:cntrl:]]*) continue ;; esac
        if [ -f "$lg_one" ] && [ ! -L "$lg_one" ]; then printf '%s\n' "$lg_one"; fi
    done | head -n "$lg_max"
}
