#!/bin/bash
# Runs bash or python, or else a command of Airflow.
case ${1:-} in
bash | python) exec "$@" ;;
*) exec airflow "$@" ;;
esac
