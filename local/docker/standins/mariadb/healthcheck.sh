#!/bin/sh
# Ignores its options. The server answers over TCP only after its tables are created.
export MYSQL_PWD="$MARIADB_PASSWORD"
exec mariadb --no-defaults --protocol=tcp --host=127.0.0.1 --user="$MARIADB_USER" --execute "SELECT 1"
