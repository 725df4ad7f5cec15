# shellcheck shell=sh disable=SC2154
# Removes a file; one that is not there is as good. A folder that may not be looked into is left to rm, to say why.
lg_remove() {
    [ -e "$lg_path" ] || [ -L "$lg_path" ] || [ ! -d "$lg_folder" ] || [ ! -x "$lg_folder" ] || exit 0
    rm -f -- "$lg_path" || exit 1
    sync "$lg_folder" 2>/dev/null
    exit 0
}
