# look.sh DIR: for each slot its record, its run, and the state and start time of the process that has the run's
# number now. What is not there is not printed.
printf 'boot %s\n' "$lg_boot"
for lg_slot in blue green; do
    lg_record=
    lg_plain "$1/$lg_slot.json" || { lg_ours "$1" "$1/$lg_slot.json"; exit 77; }
    { IFS= read -r lg_record < "$1/$lg_slot.json"; } 2>/dev/null
    if [ -z "$lg_record" ]; then
        [ ! -e "$1/$lg_slot.json" ] || [ -r "$1/$lg_slot.json" ] || printf 'unreadable %s\n' "$lg_slot"
        continue
    fi
    printf 'record %s %s\n' "$lg_slot" "$lg_record"
    lg_token=${lg_record#'{"token":"'}
    lg_line=
    lg_file=$1/$lg_slot.${lg_token%%\"*}.pid
    lg_plain "$lg_file" || { lg_ours "$1" "$lg_file"; exit 77; }
    { IFS= read -r lg_line < "$lg_file"; } 2>/dev/null || continue
    printf 'run %s %s\n' "$lg_slot" "$lg_line"
    lg_number "${lg_line%% *}" && lg_look "${lg_line%% *}" && printf 'stat %s %s %s\n' "$lg_slot" "$lg_state" "$lg_began"
done
exit 0
