-- psql reads the password from the environment: on the command line, other users could see it.
\getenv password READER_PASSWORD
ALTER ROLE mirror_reader PASSWORD :'password';
