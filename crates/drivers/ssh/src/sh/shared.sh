# shellcheck shell=sh disable=SC2154
# shared.sh: what several requests do. The variables that nothing here sets come with a request's line.

# The clock in milliseconds, on a line of its own.
lg_clock() {
    lg_now=$(date +%s%3N 2>/dev/null)
    case $lg_now in '' | *[!0-9]*) lg_now=$(date +%s)000 ;; esac
    echo "$lg_now"
}

# Removes what writes of this file that were killed left.
lg_left() {
    for lg_old in "$lg_folder/.$lg_file_name".*.tmp; do
        case $lg_old in "$lg_folder/.$lg_file_name".*[!0-9a-f.]*.tmp) continue ;; esac
        if [ ! -f "$lg_old" ] || [ -L "$lg_old" ] || [ ! -O "$lg_old" ]; then continue; fi
        find "$lg_old" -prune -type f -mmin "+$lg_minutes" -exec rm -f -- {} ';' 2>/dev/null
    done
}

# lg_begin UMASK: makes the folder, sees that what is there may be replaced, and names the temporary file, which nobody
# else can know before it is there.
lg_begin() {
    [ -d "$lg_folder" ] || (umask go-w && mkdir -p -- "$lg_folder") || exit 1
    if [ -d "$lg_path" ]; then
        echo "$lg_path: Is a directory" >&2
        exit 1
    fi
    [ -z "$lg_strict" ] || lg_ours "$lg_folder" "$lg_folder"/*.json "$lg_path" "$lg_path.lock" || exit 77
    umask "$1"
    lg_left
    lg_new="$lg_folder/.$lg_file_name.$lg_nonce.tmp"
    trap 'rm -f -- "$lg_new"' EXIT
}

# lg_receive UMASK: the content into the temporary file beside the file, all of which must have come, and onto the disk.
lg_receive() {
    lg_begin "$1"
    cat >"$lg_new" || exit 1
    [ "$(wc -c <"$lg_new")" -eq "$lg_size" ] || exit 99
    [ -z "$lg_mode" ] || chmod "$lg_mode" "$lg_new" || exit 1
    sync "$lg_new" 2>/dev/null || sync
}

# Gives the temporary file its name.
lg_settle() {
    mv -f -- "$lg_new" "$lg_path" || exit 1
    exec 9>&-
    sync "$lg_folder" 2>/dev/null || sync
    exit 0
}
