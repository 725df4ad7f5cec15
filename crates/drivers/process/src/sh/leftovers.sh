# shellcheck shell=sh disable=SC2154
# leftovers.sh PREFIX: ends what earlier starts of the slot left behind. Prints nothing; sets lg_old to their tokens.
lg_prefix=$1
lg_mine "$lg_prefix"
# A launcher of an earlier start, cut off between its intent and its process, may have come to life late; it never
# had traffic. Or a run has ended and left workers behind.
lg_old=
for lg_file in "$lg_prefix".*.pid; do
    [ -e "$lg_file" ] || continue
    lg_one=${lg_file#"$lg_prefix."}
    lg_old="$lg_old ${lg_one%.pid}"
    lg_run "$lg_file" || continue
    if lg_alive; then kill -KILL "-$lg_pid"; else lg_sweep "${lg_old##* }" 800 || exit 1; fi
done
