#!/bin/sh
# Writes .env from .env.example, with new secrets, unless it exists: sh deploy/write_env.sh [EXAMPLE [TARGET]]
#
# A shell script, because a machine that runs containers may have neither Python nor openssl. The file is complete when it
# gets its name, and only its owner can read it.
set -eu
umask 077

example=${1:-.env.example}
target=${2:-.env}

if [ -e "$target" ]; then
    exit 0
fi
if [ ! -r "$example" ]; then
    echo "$example can't be read: run this in the project's folder" >&2
    exit 1
fi

random_hex() {
    od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

# 32 bytes in the base64 alphabet for URLs, as Fernet requires.
fernet_key() {
    head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'
}

unfinished=$(mktemp "$target.XXXXXX")
trap 'rm -f "$unfinished"' EXIT

secret=
while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    "# generate hex "*)
        secret=$(random_hex "${line##* }")
        continue
        ;;
    "# generate fernet")
        secret=$(fernet_key)
        continue
        ;;
    esac
    printf '%s\n' "$line$secret"
    secret=
done <"$example" >"$unfinished"

# Unlike mv, ln never replaces a file that another process has written meanwhile.
ln "$unfinished" "$target"
echo "Wrote $target with new secrets"
