# shellcheck shell=sh
# The content becomes the file's, whole or not at all.
lg_write() {
    lg_receive 077
    lg_settle
}
