# shellcheck shell=sh disable=SC2154
# Says the clock in milliseconds on a line of its own. Then of each file what is in it, and one byte more than may be read;
# and behind it a line of its own: the request's mark, and `there`, `missing` where that is certain, or `ask` where `read`
# has to be asked what is wrong.
lg_read_each() {
    lg_clock
    set -f
    IFS=$lg_break
    for lg_path in $lg_paths; do
        lg_folder=${lg_path%/*}
        [ -n "$lg_folder" ] || lg_folder=/
        lg_word=ask
        if [ -f "$lg_path" ]; then
            head -c "$lg_max" -- "$lg_path" 2>/dev/null && lg_word=there
        elif [ ! -e "$lg_path" ] && [ ! -L "$lg_path" ] && [ -d "$lg_folder" ] && [ -x "$lg_folder" ]; then
            lg_word=missing
        fi
        printf '\n%s %s\n' "$lg_between" "$lg_word"
    done
}
