# shellcheck shell=bash
# What scripts/setup and scripts/versions ask of Debian. To be sourced.

# Prints the mirror that this machine takes its own release from, which has the other releases beside it; nothing when apt knows
# of none.
debian_mirror() {
  local codename
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016 # the $(…) are apt's own
  apt-get indextargets --format '$(CREATED_BY) $(CODENAME) $(COMPONENT) $(SITE)' \
    | awk -v c="$codename" '$1 == "Packages" && $2 == c && $3 == "main" { print $4; exit }'
}
