#!/bin/sh
# Creates the owner and the application's role, once, when the database's volume is empty.
set -eu
psql --username=postgres --set=ON_ERROR_STOP=1 --set=owner="$OWNER_PASSWORD" --set=app="$APP_PASSWORD" <<'SQL'
CREATE ROLE memoryhub LOGIN PASSWORD :'owner';
CREATE ROLE memoryhub_app LOGIN PASSWORD :'app';
CREATE DATABASE memoryhub OWNER memoryhub TEMPLATE template0 ENCODING 'UTF8';
\connect memoryhub
CREATE EXTENSION vector;
SQL
