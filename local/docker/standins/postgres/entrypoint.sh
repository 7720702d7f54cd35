#!/bin/bash
# The first start creates the cluster, the user and the database, and runs the scripts in /docker-entrypoint-initdb.d.
set -euo pipefail

if [[ ${1:-} == postgres && ! -e $PGDATA/PG_VERSION ]]; then
    unfinished=$PGDATA.unfinished
    rm --recursive --force "$unfinished"
    initdb --pgdata "$unfinished" --username "$POSTGRES_USER" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") \
        --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8
    printf 'host all all all scram-sha-256\n' >>"$unfinished/pg_hba.conf"
    printf "listen_addresses = '*'\nunix_socket_directories = '/run/postgresql'\n" >>"$unfinished/postgresql.conf"
    pg_ctl --pgdata "$unfinished" --options "-c listen_addresses=" --wait start
    export PGUSER=$POSTGRES_USER
    [[ $POSTGRES_DB == postgres ]] || createdb "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        [[ ! -e $script ]] || psql --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$POSTGRES_DB" --file "$script"
    done
    pg_ctl --pgdata "$unfinished" --mode fast --wait stop
    mv "$unfinished" "$PGDATA"
fi
exec "$@"
