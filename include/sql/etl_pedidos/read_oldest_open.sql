-- The view's times are in the server's zone, whatever the session's zone is.
SELECT CONVERT_TZ(MIN(trx_started), 'SYSTEM', '+00:00') AS oldest, UTC_TIMESTAMP(6) AS now
FROM information_schema.innodb_trx
WHERE trx_mysql_thread_id <> CONNECTION_ID()
