#!/usr/bin/env bash
# Give the running replicas another image or bundle, one after the other: no request is lost.
#
#     deploy/rolling_update.sh SERVE_IMAGE=ml-serve:latest                      # what `make image-cpu` has built anew
#     deploy/rolling_update.sh BUNDLE=outputs/latest/bundle                     # what the newest run has exported
#     deploy/rolling_update.sh SERVE_IMAGE=ml-serve:1.2 BUNDLE=/srv/bundles/2
#     deploy/rolling_update.sh rollback                                         # back to what ran before the last update
#
# What isn't named stays as it runs. About 10 s a replica; the next one is touched only when nginx gets "ready" from the one
# before. If one isn't ready within PATIENCE=60 seconds, what was replaced gets back what it had, and the exit status is 1: the
# other one has served all the while. What runs is kept in deploy/.env, so that a later `docker compose up -d` changes
# nothing, and what ran before in deploy/.env.previous. The image that ran gets the tag ml-serve:id-…: a new ml-serve:latest
# doesn't hide it, and `docker image prune` lets it be. `docker image rm` those that are too old.
#
# COMPOSE=docker-compose is for machines where Compose is a program of its own.
set -euo pipefail

replicas=(serve-1 serve-2)
patience=${PATIENCE:-60}
retry_s=3 # nginx leaves a replica that failed alone for fail_timeout=2s (nginx/nginx.conf)
read -ra program <<<"${COMPOSE:-docker compose}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
env_file=${COMPOSE_ENV_FILES:-$here/.env}
previous=$env_file.previous

fail() {
    echo "rolling_update.sh: $*" >&2
    exit 2
}

compose() { (cd "$here" && "${program[@]}" "$@"); }

# keep LINES: give the variables SERVE_IMAGE and BUNDLE these values in the file that Compose reads; its other lines stay.
keep() {
    local new
    new=$(mktemp "$env_file.XXXXXX")
    if [ -e "$env_file" ]; then grep -vE '^(SERVE_IMAGE|BUNDLE)=' "$env_file" >"$new" || true; fi
    echo "$1" >>"$new"
    mv "$new" "$env_file"
}

# value LINES NAME: what stands behind NAME=.
value() { sed -n "s/^$2=//p" <<<"$1"; }

# What the first replica runs on now, as lines for `keep`. Its image gets a name that no other will ever have.
running() {
    local container image name bundle
    container=$(compose ps --all --quiet "${replicas[0]}")
    [ -n "$container" ] || fail "nothing runs yet: cd deploy && docker compose up -d --no-build --wait"
    image=$(docker inspect --format '{{.Image}}' "$container")
    name=$(docker inspect --format '{{.Config.Image}}' "$container")
    name=${name%:*}:id-$(cut -c8-19 <<<"$image")
    docker tag "$image" "$name"
    bundle=$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/bundle"}}{{.Source}}{{end}}{{end}}' "$container")
    printf 'SERVE_IMAGE=%s\nBUNDLE=%s\n' "$name" "$bundle"
}

# wanted BEFORE WORD…: what shall run, as lines for `keep`.
wanted() {
    local before=$1 image bundle word
    shift
    if [ "${1:-}" = rollback ]; then
        [ -e "$previous" ] || fail "no update is known: there is no $previous"
        before=$(cat "$previous")
        shift
    fi
    image=$(value "$before" SERVE_IMAGE)
    bundle=$(value "$before" BUNDLE)
    for word in "$@"; do
        case $word in
        SERVE_IMAGE=?*) image=${word#*=} ;;
        BUNDLE=?*) bundle=${word#*=} ;;
        *) fail "'$word' is not known; give SERVE_IMAGE=…, BUNDLE=… or rollback" ;;
        esac
    done
    docker image inspect "$image" >/dev/null 2>&1 || fail "there is no image $image here: make image-cpu, or docker load"
    [ -d "$bundle" ] || fail "there is no folder $bundle"
    printf 'SERVE_IMAGE=%s\nBUNDLE=%s\n' "$image" "$(cd "$bundle" && pwd -P)"
}

# replace REPLICA: make its container anew with what was kept last; fails unless nginx gets "ready" from it in time.
replace() {
    local container said end=$((SECONDS + patience))
    if ! said=$(compose up --detach --no-deps --no-build --force-recreate "$1" 2>&1); then
        echo "$said" >&2
        return 1
    fi
    container=$(compose ps --all --quiet "$1")
    until compose exec -T nginx curl -fsS --max-time 2 -o /dev/null "http://$1:8000/ready" 2>/dev/null; do
        # One that ended is started again and again: the first time says enough.
        if [ "$(docker inspect --format '{{.RestartCount}}' "$container")" != 0 ] || [ "$SECONDS" -ge "$end" ]; then
            compose logs --no-log-prefix --tail 5 "$1" >&2 || true
            return 1
        fi
        sleep 0.2
    done
    sleep "$retry_s"
}

# replace_all LINES REPLICA…: let these run, one replica after the other, up to the first that doesn't get ready.
replace_all() {
    local lines=$1 replica
    shift
    keep "$lines"
    touched=""
    for replica in "$@"; do
        touched="$replica $touched"
        echo "$replica   gets $(value "$lines" SERVE_IMAGE) with $(value "$lines" BUNDLE)"
        replace "$replica" || return 1
        echo "$replica   is ready"
    done
}

main() {
    local before after older=""
    [ "$#" -gt 0 ] || fail "say what is new: SERVE_IMAGE=…, BUNDLE=… or rollback"
    before=$(running)
    after=$(wanted "$before" "$@")
    unset SERVE_IMAGE BUNDLE # the shell's variables would count more than those that are kept
    if [ -e "$previous" ]; then older=$(cat "$previous"); fi
    echo "$before" >"$previous" # now, so that an update that is interrupted can be rolled back too
    if ! replace_all "$after" "${replicas[@]}"; then
        echo "it is not ready: what was replaced gets back what it had" >&2
        if [ -n "$older" ]; then echo "$older" >"$previous"; else rm "$previous"; fi
        # The one that failed comes first: it serves nobody now. One that wasn't touched serves alone, and is left alone.
        # shellcheck disable=SC2086  # one word for each replica
        replace_all "$before" $touched || echo "that failed too: docker compose logs, in deploy/" >&2
        exit 1
    fi
    echo "undo      deploy/rolling_update.sh rollback"
}

main "$@"
