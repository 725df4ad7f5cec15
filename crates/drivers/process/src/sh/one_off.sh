# shellcheck shell=sh disable=SC2154
# one_off.sh PREFIX KEEPER TOKEN NAMES CWD ARGV...: starts the keeper detached and prints what it says. Of this shell's
# variables the program keeps those in NAMES; `*` is all of them.
lg_prefix=$1 lg_keeper=$2 lg_names=$4
lg_ours "${lg_prefix%/*}" "$lg_prefix.pid" "$lg_prefix.log" "$lg_prefix.code" || exit 77
mkdir -p -- "${lg_prefix%/*}" || exit 1
[ ! -e "$lg_prefix.pid" ] || { echo there; exit 0; }
(umask 077 && : > "$lg_prefix.log") || exit 1
if [ "$lg_names" != '*' ]; then
    # Lines of values that look like a variable are unset too, which does nothing.
    for lg_one in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
        case " $lg_names " in *" $lg_one "*) ;; *) unset "$lg_one" ;; esac
    done
fi
lg_token=$3 lg_cwd=$5
shift 5
set -- "$lg_prefix" "$lg_token" "$lg_cwd" "$@"
# As in launch.sh: it ends when the keeper closes descriptor 3.
lg_said=$(setsid -f sh -c "$lg_keeper" sh "$@" 3>&1 >> "$lg_prefix.log" 2>&1 < /dev/null)
if [ -z "$lg_said" ]; then
    lg_said=$(setsid sh -c "$lg_keeper" sh "$@" 3>&1 >> "$lg_prefix.log" 2>&1 < /dev/null &)
fi
printf '%s\n' "$lg_said"
