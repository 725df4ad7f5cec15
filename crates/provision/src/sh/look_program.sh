# shellcheck shell=sh
# look_program.sh: a function that look.sh begins with where Lockgate's own program is wanted. `lg_program NAME` says one line:
#
#   program SYSTEM MACHINE WRITABLE KIND UID SIZE SUM VERSION PATH
#
# PATH is where a login without a terminal finds it; where it finds none, the place to put it, `-` where there is none. KIND is
# `none`, `file`, `link` or `other`; WRITABLE whether this user may write to its folder. VERSION is what it says of itself.

lg_program() {
    lg_place=$(command -v -- "$1" 2>/dev/null) || lg_place=''
    case $lg_place in /*) ;; *) lg_place=$(lg_room)/$1 ;; esac
    lg_writable=no lg_kind='none' lg_facts='- - -' lg_says=-
    if [ "$lg_place" = "-/$1" ]; then
        lg_place=-
        lg_ask
    else
        if [ -w "${lg_place%/*}/" ]; then lg_writable=yes; else lg_ask; fi
        if [ -L "$lg_place" ]; then
            lg_kind='link'
        elif [ -f "$lg_place" ]; then
            lg_kind='file'
        elif [ -e "$lg_place" ]; then
            lg_kind='other'
        fi
    fi
    if [ -f "$lg_place" ] && [ -r "$lg_place" ]; then
        lg_sum=$(sha256sum <"$lg_place") || exit 1
        lg_facts="$(stat -L -c '%u %s' "$lg_place") ${lg_sum%% *}"
        lg_says=$(lg_version "$lg_place")
    fi
    echo "program $(uname -s) $(uname -m) $lg_writable $lg_kind $lg_facts $lg_says $lg_place"
}

# A folder of the PATH for a new program: the usual one, else the first that this user may write to, else the usual one by
# sudo.
lg_room() {
    lg_rest=$PATH: lg_usual='' lg_own=''
    while [ -n "$lg_rest" ]; do
        lg_folder=${lg_rest%%:*} lg_rest=${lg_rest#*:}
        case $lg_folder in /*) ;; *) continue ;; esac
        lg_folder=${lg_folder%/}
        [ -d "$lg_folder/" ] || continue
        [ "$lg_folder" != /usr/local/bin ] || lg_usual=$lg_folder
        if [ -z "$lg_own" ] && [ -w "$lg_folder/" ]; then lg_own=$lg_folder; fi
    done
    [ -z "$lg_usual" ] || [ ! -w "$lg_usual/" ] || lg_own=$lg_usual
    [ -n "$lg_own" ] || lg_own=$lg_usual
    printf '%s' "${lg_own:--}"
}

# `lockgate 0.1.0` as 0.1.0; `-` where it says nothing like that, or not soon.
lg_version() {
    lg_text=$(if command -v timeout >/dev/null 2>&1; then timeout 10 "$1" --version; else "$1" --version; fi 2>/dev/null </dev/null) \
        || lg_text=''
    lg_text=$(printf '%s\n' "$lg_text" | sed -n '1s/^[a-z]* \([^ ]*\).*$/\1/p' | tr -cd 'A-Za-z0-9.+~_-' | cut -c 1-40)
    printf '%s' "${lg_text:--}"
}
