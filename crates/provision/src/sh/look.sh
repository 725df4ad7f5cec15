# shellcheck shell=sh
# look.sh MARKER [KIND PATH]...: what is there of what a host needs. Says who acts, then a line for each path, then by what power
# more can be made: `root`, `sudo` (without a password), `none`, or `unasked` where nobody needs to know. sudo is asked only
# where something cannot be made without it, for it tells the administrator of each attempt that fails.
#
# KIND is `wait`, `folder`, `file`, `rival`, `env` for a file that is ours when its first line begins with MARKER, or, after the
# scripts that say what they are, `docker` with the path of the os-release and `program` with a name in the place of the path.
LC_ALL=C
export LC_ALL
lg_marker=$1
shift
lg_me=$(id -u) || exit 1
lg_power=unasked
[ "$lg_me" != 0 ] || lg_power=root
echo "me $lg_me $(id -g) $(id -un)"

lg_ask() {
    [ "$lg_power" = unasked ] || return 0
    lg_power=none
    if command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then lg_power=sudo; fi
}

# Whether it can be made where it is missing: `yes`, or `no` without other powers; and the nearest folder above that is there.
lg_missing() {
    lg_at=$1
    while [ ! -e "$lg_at" ] && [ ! -L "$lg_at" ] && [ "$lg_at" != / ]; do
        lg_at=${lg_at%/*}
        [ -n "$lg_at" ] || lg_at=/
    done
    if [ -d "$lg_at" ] && [ -w "$lg_at" ] && [ -x "$lg_at" ]; then
        echo "missing yes $lg_at"
    else
        [ "$2" != ask ] || lg_ask
        echo "missing no $lg_at"
    fi
}

while [ $# -gt 1 ]; do
    lg_kind=$1 lg_path=$2
    shift 2
    case $lg_kind in
    wait | rival)
        if [ -e "$lg_path" ] || [ -L "$lg_path" ]; then echo there; else echo 'missing - -'; fi
        continue
        ;;
    docker | program)
        "lg_$lg_kind" "$lg_path"
        continue
        ;;
    esac
    if [ -d "$lg_path" ]; then
        if [ -L "$lg_path" ] && [ "$lg_kind" != folder ]; then
            echo link
        else
            echo "folder $(stat -L -c '%a %u %g %U %G' "$lg_path")"
        fi
    elif [ -L "$lg_path" ]; then
        echo link
    elif [ -f "$lg_path" ]; then
        lg_sum=-
        if [ -r "$lg_path" ]; then
            lg_sum=$(sha256sum <"$lg_path") || exit 1
            lg_sum=${lg_sum%% *}
        fi
        lg_first='' lg_whose=others
        if [ "$lg_kind" = env ] && [ -r "$lg_path" ]; then
            IFS= read -r lg_first <"$lg_path"
            case $lg_first in "$lg_marker"*) lg_whose=ours ;; esac
        fi
        echo "file $(stat -c '%a %u %s' "$lg_path") $lg_sum $lg_whose"
    elif [ -e "$lg_path" ]; then
        echo other
    else
        case $lg_kind in file | env) lg_missing "$lg_path" - ;; *) lg_missing "$lg_path" ask ;; esac
    fi
done
echo "power $lg_power"
