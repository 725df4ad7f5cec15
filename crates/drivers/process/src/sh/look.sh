# shellcheck shell=sh disable=SC2154
# look.sh DIR SLOT…: for each slot its record, its run, and the state and start time of the process that has the run's
# number now. What is not there is not printed.
printf 'boot %s\n' "$lg_boot"
lg_dir=$1
shift
for lg_slot; do
    lg_record=
    lg_plain "$lg_dir/$lg_slot.json" || { lg_ours "$lg_dir" "$lg_dir/$lg_slot.json"; exit 77; }
    { IFS= read -r lg_record < "$lg_dir/$lg_slot.json"; } 2>/dev/null
    if [ -z "$lg_record" ]; then
        [ ! -e "$lg_dir/$lg_slot.json" ] || [ -r "$lg_dir/$lg_slot.json" ] || printf 'unreadable %s\n' "$lg_slot"
        continue
    fi
    printf 'record %s %s\n' "$lg_slot" "$lg_record"
    lg_token=${lg_record#'{"token":"'}
    lg_line=
    lg_file=$lg_dir/$lg_slot.${lg_token%%\"*}.pid
    lg_plain "$lg_file" || { lg_ours "$lg_dir" "$lg_file"; exit 77; }
    { IFS= read -r lg_line < "$lg_file"; } 2>/dev/null || continue
    printf 'run %s %s\n' "$lg_slot" "$lg_line"
    lg_number "${lg_line%% *}" && lg_look "${lg_line%% *}" && printf 'stat %s %s %s\n' "$lg_slot" "$lg_state" "$lg_began"
done
exit 0
