# shellcheck shell=sh disable=SC2154
# `df` of the path or its nearest existing parent.
lg_space() {
    while [ ! -e "$lg_path" ]; do
        case $lg_path in
        */*)
            lg_path=${lg_path%/*}
            [ -n "$lg_path" ] || lg_path=/
            ;;
        *) lg_path=. ;;
        esac
    done
    exec df -Pk -- "$lg_path"
}
