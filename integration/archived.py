#!/usr/bin/env python3
"""Reads an archive with DuckDB through its views.sql, and prints one JSON object: how many events each topic has, and the current
rows of each table by their key; with queries, their rows as text.

    archived.py DIR [QUERY...]"""

import json
import os
import sys

import duckdb

folder = sys.argv[1]
connection = duckdb.connect()
connection.execute("SET file_search_path = '%s'" % folder.replace("'", "''"))
with open(os.path.join(folder, "views.sql"), encoding="utf-8") as views:
    connection.execute(views.read())
if len(sys.argv) > 2:
    results = [connection.execute(query).fetchall() for query in sys.argv[2:]]
    print(json.dumps([[" ".join(map(str, row)) for row in rows] for rows in results]))
    sys.exit()
counts = dict(connection.execute("SELECT topic, count(*) FROM events GROUP BY topic").fetchall())
rows = {}
for schema, table, row in connection.execute('SELECT "schema", "table", "row" FROM current_rows ORDER BY n').fetchall():
    rows.setdefault(f"{schema}.{table}", []).append(json.loads(row))
deleted = connection.execute("SELECT count(*) FROM history WHERE op = 'd'").fetchone()[0]
commands = [command for (command,) in connection.execute("SELECT command FROM ddl ORDER BY n").fetchall()]
print(json.dumps({"counts": counts, "rows": rows, "deleted": deleted, "ddl": commands}))
