-- Read by psql from the environment: on its command line, other users could see the password.
\getenv password READER_PASSWORD
ALTER ROLE mirror_reader PASSWORD :'password';
