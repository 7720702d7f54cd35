#!/bin/bash
# The first start creates the system tables, the user and the database, and runs the scripts in /docker-entrypoint-initdb.d.
set -euo pipefail

[[ ${1:-} != -* ]] || set -- mariadbd "$@"
# Ignores Debian's configuration files, to run the same on any machine.
server=("$1" --no-defaults --datadir=/var/lib/mysql --socket=/run/mysqld/mysqld.sock "${@:2}")
if [[ ! -e /var/lib/mysql/finished ]]; then
    find /var/lib/mysql -mindepth 1 -delete
    mariadb-install-db --no-defaults --datadir=/var/lib/mysql --auth-root-authentication-method=normal \
        --skip-test-db >/dev/null
    "${server[@]}" --skip-networking &
    sql() { mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --user=root "$@"; }
    until sql --execute "SELECT 1" >/dev/null 2>&1; do
        kill -0 $! || exit 1
        sleep 0.2
    done
    # Through standard input, so that no password is on a command line.
    sql <<SQL
CREATE DATABASE \`$MARIADB_DATABASE\`;
CREATE USER \`$MARIADB_USER\`@'%' IDENTIFIED BY '$MARIADB_PASSWORD';
GRANT ALL ON \`$MARIADB_DATABASE\`.* TO \`$MARIADB_USER\`@'%';
DELETE FROM mysql.global_priv WHERE User = '';
FLUSH PRIVILEGES;
SQL
    for script in /docker-entrypoint-initdb.d/*.sql; do
        [[ ! -e $script ]] || sql --database "$MARIADB_DATABASE" <"$script"
    done
    sql <<SQL
ALTER USER root@localhost IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
SQL
    touch /var/lib/mysql/finished
    kill $!
    wait $!
fi
exec "${server[@]}"
