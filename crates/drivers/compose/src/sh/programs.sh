# shellcheck shell=sh
# programs.sh PLUGIN_FOLDER...: on a host, every file that could be the Compose that is called, with what is another when it is
# replaced. First comes a line with the plugin that docker's CLI takes, or an empty one. Ends with 1 where that cannot be
# known without asking docker.
config=${DOCKER_CONFIG:-${HOME:-}/.docker}
case $config in /*) ;; *) exit 1 ;; esac
# Docker's CLI was told of other folders with plugins.
if grep -q cliPluginsExtraDirs "$config/config.json" 2>/dev/null; then exit 1; fi
plugin='' missing=''
files=$(
    for folder in "$config/cli-plugins" "$@"; do printf '%s\n' "$folder/docker-compose"; done
    printf '%s\n' "${PATH:-}" | tr : '\n' | while IFS= read -r folder; do
        printf '%s\n' "$folder/docker" "$folder/docker-compose"
    done
)
set -f
IFS='
'
set --
for file in $files; do
    if [ -f "$file" ]; then
        set -- "$@" "$file"
        case $file in */cli-plugins/docker-compose) [ -n "$plugin" ] || plugin=$file ;; esac
    else
        missing="$missing$file
"
    fi
done
printf '%s\n' "$plugin"
[ "$#" -eq 0 ] || stat -L -c '%n %d %i %s %Y %Z' -- "$@" || exit 1
# One that is missing may appear later, so it is part of what is known.
printf '%s' "$missing"
