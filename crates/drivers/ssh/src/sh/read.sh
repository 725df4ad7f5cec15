# shellcheck shell=sh disable=SC2154
# Says the clock in milliseconds on a line of its own, then the file, and one byte more than may be read.
lg_read() {
    lg_clock
    [ -z "$lg_strict" ] || lg_quick "$lg_folder" "$lg_path" || exit 77
    if [ -e "$lg_path" ] && [ ! -f "$lg_path" ] && [ ! -d "$lg_path" ]; then
        # shellcheck disable=SC2012 # its owner and mode are wanted, not its name
        LC_ALL=C ls -ldnL -- "$lg_path" | lg_judge ''
        exit 77
    fi
    # Most that is looked for is not there. Where that is certain, no program is started to say so.
    if [ ! -e "$lg_path" ] && [ ! -L "$lg_path" ] && [ -d "$lg_folder" ] && [ -x "$lg_folder" ]; then
        echo "$lg_path: No such file or directory" >&2
        exit 1
    fi
    exec head -c "$lg_max" -- "$lg_path"
}
