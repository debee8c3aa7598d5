#!/bin/sh
# Makes Tollgate's two roles and its database on a PostgreSQL of one's own, once.
# Called with OWNER_PASSWORD and APP_PASSWORD in the environment, by the superuser.
set -eu
psql --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres \
  --set=owner_password="$OWNER_PASSWORD" --set=app_password="$APP_PASSWORD" <<'SQL'
CREATE ROLE tollgate_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'owner_password';
CREATE ROLE tollgate_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'app_password';
CREATE DATABASE tollgate OWNER tollgate_owner TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE tollgate FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE tollgate TO tollgate_app;
SQL
