"""`tools/make_roles.sh` gives a PostgreSQL of one's own the roles and the database that the embedded one has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tollgate.db import embedded, postgres
from tollgate.db.embedded import fetch_sql, run_sql

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "make_roles.sh"
ROLES = """
    SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolpassword IS NOT NULL
    FROM pg_authid WHERE rolname LIKE 'tollgate%' ORDER BY 1
"""
DATABASES = (
    "SELECT datname, pg_get_userbyid(datdba), encoding, datlocprovider, datacl::text FROM pg_database WHERE datname LIKE 'tollgate%'"
)


def test_the_script_makes_what_the_embedded_server_makes() -> None:
    with embedded.throwaway() as server:
        database = fetch_sql(server, DATABASES, database="postgres")
        roles = [role[:-1] for role in fetch_sql(server, ROLES, database="postgres")]
        run_sql(server, "DROP DATABASE tollgate", database="postgres")
        run_sql(server, "DROP ROLE tollgate_owner; DROP ROLE tollgate_app", database="postgres")
        programs = postgres.find_binaries().folder
        environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": str(server.socket_folder),
            "OWNER_PASSWORD": 'it\'s a "secret" $1',
            "APP_PASSWORD": "another",
        }
        subprocess.run(["sh", str(SCRIPT)], env=environment, check=True, capture_output=True)
        assert fetch_sql(server, ROLES, database="postgres") == [(*role, True) for role in roles]
        assert fetch_sql(server, DATABASES, database="postgres") == database
