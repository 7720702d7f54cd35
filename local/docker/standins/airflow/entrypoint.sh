#!/bin/bash
# A program by its name, or else a command of Airflow.
case ${1:-} in
bash | python) exec "$@" ;;
*) exec airflow "$@" ;;
esac
