{# The properties of the server and the role that a survey needs. #}
SELECT
    current_setting('server_version_num')::integer / 10000,
    current_user::text,
    pg_is_in_recovery(),
    pg_has_role(current_user, 'pg_read_all_stats', 'usage'),
    current_setting('block_size')::integer
