#!/bin/sh
# Whatever its options are: the server answers over TCP, which it does not do while its tables are made.
export MYSQL_PWD="$MARIADB_PASSWORD"
exec mariadb --no-defaults --protocol=tcp --host=127.0.0.1 --user="$MARIADB_USER" --execute "SELECT 1"
